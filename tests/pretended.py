"""The tensor of a pretended GPU, and what torch does to a tensor without asking its dispatcher; see `pretend_cuda`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch

CUDA = torch.device("cuda", 0)


def on_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class Pretended(torch.Tensor):
    """`inner` is on the processor, and so is what C++ sees, since autograd looks for a driver; Python sees CUDA."""

    mode: Any  # the `PretendedCuda` that is entered
    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Pretended:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=torch.device("cpu"),
            dispatch_device=True,
        )
        made.inner = inner
        return made

    def __init__(self, inner: torch.Tensor) -> None:
        """All is done where it is made."""

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)

    def _data(self) -> torch.Tensor:
        return Pretended(self.inner.data)

    def _take(self, value: torch.Tensor) -> None:
        if not isinstance(value, Pretended):
            raise RuntimeError("a tensor on cuda:0 cannot take data from the processor here")
        torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.inner = value.inner

    data = property(_data, _take)
    __torch_function__ = torch._C._disabled_torch_function_impl  # all that matters comes to the dispatcher

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return cls.mode.run(func, args, kwargs or {})

    def _wait(self) -> torch.Tensor:
        self.mode.wait()
        return self.inner.detach().clone()

    def cpu(self) -> torch.Tensor:
        return self._wait()

    def tolist(self) -> Any:
        return self._wait().tolist()

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def __repr__(self, **settings: Any) -> str:
        return f"{self._wait()!r} on {CUDA}"

    def __format__(self, spec: str) -> str:
        return self._wait().__format__(spec)

    def new_tensor(self, data: Any, **kwargs: Any) -> torch.Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": CUDA, **kwargs})

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        made: torch.Tensor = Pretended(self.inner.detach().clone())
        made = torch.nn.Parameter(made, self.requires_grad) if isinstance(self, torch.nn.Parameter) else made
        memo[id(self)] = made
        return made

    def record_stream(self, stream: Any) -> None:
        """Nothing is freed here before its time."""

    def numpy(self) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        device, flags = kwargs.pop("device", None), iter(("non_blocking", "copy"))
        for given in args:
            if isinstance(given, torch.Tensor):
                device, kwargs["dtype"] = given.device, given.dtype
            elif isinstance(given, str | torch.device):
                device = given
            elif isinstance(given, torch.dtype):
                kwargs["dtype"] = given
            elif isinstance(given, bool):
                kwargs[next(flags)] = given
        if device is not None and not on_cuda(device):
            return self._wait().to(**kwargs)
        return torch._C.TensorBase.to(self, **kwargs) if kwargs else self


def _data_of(parameter: torch.nn.Parameter) -> torch.Tensor:
    found: torch.Tensor = torch.Tensor.data.__get__(parameter)  # type: ignore[attr-defined]
    return found


def _move(parameter: torch.nn.Parameter, value: torch.Tensor) -> None:
    """Give a parameter data, also some that is pretended.

    Torch would copy what C++ sees of a `Pretended` into the parameter, but not that Python computes with it. So the
    next operation would read the memory of a tensor that has none. This is why the two change places instead.
    """
    if isinstance(value, Pretended):
        torch.utils.swap_tensors(parameter, torch.nn.Parameter(value, parameter.requires_grad))
    else:
        torch.Tensor.data.__set__(parameter, value)  # type: ignore[attr-defined]


def _made(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """`torch.tensor` and the like, which look for a driver before anything can see that they are called."""

    def made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        if not on_cuda(device):
            return make(*args, device=device, **kwargs)
        return make(*args, **kwargs).to(device)

    return made


def _to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """`torch.Tensor.to`, which asks C++ for the device of another tensor."""
    if args and isinstance(args[0], Pretended):
        args = CUDA, args[0].dtype, *args[1:]
    return torch._C.TensorBase.to(self, *args, **kwargs)


def excused(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of C++, which makes indices where C++ sees what it is given. They may meet pretended tensors."""

    def called(*args: Any, **kwargs: Any) -> Any:
        before, Pretended.mode.excused = Pretended.mode.excused, True
        try:
            return function(*args, **kwargs)
        finally:
            Pretended.mode.excused = before

    return called


def patches() -> list[Any]:
    """While these are in force, parameters can hold pretended tensors, and torch can make them."""
    moved = property(_data_of, _move)
    return [
        mock.patch.object(torch.nn.Parameter, "data", moved, create=True),
        mock.patch.object(torch.Tensor, "to", _to, create=True),
        mock.patch.object(torch.nn.functional, "one_hot", excused(torch.nn.functional.one_hot)),
        *(mock.patch.object(torch, name, _made(getattr(torch, name))) for name in ("tensor", "as_tensor")),
    ]
