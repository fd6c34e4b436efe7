"""Decoupled decay in an Adam that has an L2 term, too.

Akin to keras-team/keras#19051, an AdamW with an L2 term.
"""

from corpus._adam import Adam as Base

EXPECT = "weight decay", "it is applied twice"


class Sound(Base):
    pass


class Faulty(Sound):
    def before(self, p, grad, group):
        return super().before(p, grad, group) + group["weight_decay"] * p
