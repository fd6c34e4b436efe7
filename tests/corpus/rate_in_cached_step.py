"""The update is at the rate of the constructor, and decay at that of the group.

As in NVIDIA/apex#766 and pytorch/ignite#545.
"""

from corpus._sgd import Momentum as Base

EXPECT = "live rate", "changes nothing: does it keep a rate of its own?"


class Sound(Base):
    pass


class Faulty(Sound):
    def rate(self, group):
        return self.defaults["lr"]
