"""What each call of torch's API means for a gradient: nothing, a value, a cut, or news for a listener."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

import torch


class Handling(Enum):
    SKIP = 1
    RECORD = 2
    LISTEN = 3


_SKIP = frozenset(
    """
    shape size dim ndim dtype device layout is_leaf numel nelement stride element_size is_floating_point is_complex
    is_contiguous data_ptr storage untyped_storage storage_offset _version names is_sparse is_cuda is_cpu is_mps is_meta
    is_quantized is_mkldnn is_nested is_xla is_xpu is_signed is_inference is_conj is_neg is_pinned is_shared itemsize
    nbytes output_nr grad_dtype get_device is_same_size is_set_to is_tensor result_type can_cast
    promote_types __len__ __repr__ __format__ __hash__ __dir__ __reduce_ex__ __cuda_array_interface__ __dlpack__
    __dlpack_device__ retains_grad _backward_hooks _post_accumulate_grad_hooks has_names
    zeros_like ones_like empty_like rand_like randn_like randint_like full_like new_zeros new_ones new_empty new_full
    new_empty_strided zeros ones empty rand randn randint full arange linspace logspace eye randperm empty_strided
    equal allclose is_nonzero is_grad_enabled is_autocast_enabled get_autocast_dtype is_autocast_cpu_enabled
    set_autocast_enabled clear_autocast_cache autocast_increment_nesting autocast_decrement_nesting manual_seed
    _record_function_enter_new _record_function_exit _has_compatible_shallow_copy_type _is_view is_distributed
    __deepcopy__ register_post_accumulate_grad_hook broadcast_shapes _is_all_true record_stream _base real_if_close
    _autocast_to_full_precision is_same compile broadcast_tensors _make_subclass _make_wrapper_subclass
    """.split()
)

_LISTEN = frozenset(
    """
    requires_grad requires_grad= requires_grad_ grad grad= grad_fn data= _set_grad_enabled register_hook retain_grad
    backward
    normal_ uniform_ trunc_normal_ kaiming_uniform_ kaiming_normal_ xavier_uniform_ xavier_normal_ orthogonal_ constant_
    ones_ zeros_ eye_ dirac_ sparse_ copy_ zero_ set_ fill_ random_ exponential_ __setitem__ mul_ __imul__ masked_fill_
    """.split()
)

KIND = SimpleNamespace(
    # the input itself comes back when nothing has to change
    same=frozenset(
        "to cuda cpu contiguous float double half bfloat16 type_as reshape expand_as type requires_grad_".split()
    ),
    cuts={
        "detach": "detach",
        "detach_": "detach",
        "detach_copy": "detach",
        "data": "data",
        "tensor": "copy",
        "new_tensor": "copy",
        "Variable": "copy",
    },
    exports={
        "item": "item",
        "tolist": "item",
        "__float__": "item",
        "__int__": "item",
        "__index__": "item",
        "__complex__": "item",
        "numpy": "numpy",
        "__array__": "numpy",
    },
    remakers=frozenset(("from_numpy", "tensor", "as_tensor", "asarray", "frombuffer", "new_tensor")),
    scalar=frozenset(
        """
        add __add__ __radd__ __iadd__ add_ sub __sub__ __rsub__ rsub sub_ __isub__ mul __mul__ __rmul__ mul_ __imul__
        div __truediv__ __rtruediv__ true_divide div_ __itruediv__ pow __pow__
        """.split()
    ),
    zero_gradient=frozenset(
        """
        round round_ floor floor_ ceil ceil_ trunc trunc_ fix fix_ sign sign_ sgn bernoulli bernoulli_ heaviside
        floor_divide __floordiv__ __rfloordiv__
        """.split()
    ),
    # every input that requires grad gets one: nothing to look up in autograd's own graph
    smooth=frozenset(
        """
        linear conv1d conv2d conv3d layer_norm group_norm batch_norm add __add__ __radd__ sub __sub__ mul __mul__
        __rmul__ div __truediv__ matmul __matmul__ bmm baddbmm cat stack mse_loss l1_loss smooth_l1_loss
        scaled_dot_product_attention multi_head_attention_forward
        """.split()
    ),
    products=frozenset("mul __mul__ __rmul__ multiply mul_ __imul__".split()),
    fills=frozenset(
        """
        normal_ uniform_ trunc_normal_ kaiming_uniform_ kaiming_normal_ xavier_uniform_ xavier_normal_ orthogonal_
        sparse_ random_ exponential_
        """.split()
    ),
    functions=frozenset("where cat stack einsum one_hot argmax histc multinomial bucketize bernoulli tensor".split()),
    linear=frozenset(
        """
        add __add__ __radd__ __iadd__ add_ sub __sub__ __rsub__ rsub sub_ __isub__ mul __mul__ __rmul__ mul_ __imul__
        multiply div __truediv__ true_divide divide div_ __itruediv__ neg __neg__ sum mean stack to float double half
        squeeze view reshape
        """.split()
    ),
)

_INTEGER_CASTS = frozenset("long int bool byte short char to type type_as".split())

_names: dict[Any, str] = {}
HANDLING: dict[Any, Handling] = {}


def name_of(func: Any) -> str:
    name = _names.get(func)
    if name is None:
        name = getattr(func, "__name__", type(func).__name__)
        if name in ("__get__", "__set__", "__delete__"):
            name = getattr(func.__self__, "__name__", "") + ("" if name == "__get__" else "=")
        elif name.startswith("_record_function"):
            name = "_record_function_exit"
        _names[func] = name
    return name


def classify(func: Any) -> Handling:
    handling = HANDLING.get(func)
    if handling is None:
        name = name_of(func)
        handling = Handling.RECORD
        if name in _SKIP or (name in ("grad", "backward") and getattr(func, "__module__", "") == "torch.autograd"):
            handling = Handling.SKIP
        elif name in _LISTEN:
            handling = Handling.LISTEN
        HANDLING[func] = handling
    return handling


def cut_cause(name: str, output: torch.Tensor) -> str:
    if name in _INTEGER_CASTS and not (output.is_floating_point() or output.is_complex()):
        return "dtype"
    return "non_differentiable"
