"""From what names a model to the model itself.

A target is a JSON object: `name`, and either `build` ("pkg.mod:callable", "timm:resnet50", "transformers:bert") or
`path`, `kind` ("function", "class", "script") and `qualname`; optionally `inputs`, `loss`, `frozen`, `trainable`.
`build(target)` gives the model as the user's code makes it; the inputs come from `inputs.example_inputs(built)`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from .protocol import TargetError, UnsupportedError


@dataclass
class Built:
    """A model ready to be asked: its optimizer, example inputs and loss where the project names them."""

    model: nn.Module
    optimizer: Optimizer | None = None
    loss: Callable[..., Any] | None = None  # loss(output) or loss(output, inputs)
    inputs: Any | None = None  # what the project says: a spec, or what its callable returned
    name: str = ""
    notes: list[str] = field(default_factory=list)
    part: str = ""  # which of several models of the target
    others: list[Built] = field(default_factory=list)  # further models that optimizers step


def build(target: dict[str, Any]) -> Built:
    """Import the target's code, call it, and take the model (and optimizer) out of what it returns."""
    if target.get("kind") == "script":
        from .setup_slice import build_script

        built = build_script(target["path"])
    else:
        built = take(call_without_arguments(find(target), target_name(target)), target_name(target))
    if target.get("loss"):
        built.loss = resolve(target["loss"])
    inputs = target.get("inputs")
    if isinstance(inputs, str) and is_reference(inputs):
        built.inputs = call_without_arguments(resolve(inputs), inputs)
        if built.inputs is None:
            raise TargetError(f"`{inputs}` returned None, not inputs")
    elif inputs:
        built.inputs = inputs
    if built.others and (target.get("loss") or inputs):  # which are meant for one model
        built.notes.append(f"only `{built.part}` was looked at: the settings name the inputs or the loss of one model")
        built.others = []
    for one in (built, *built.others):
        one.name = target_name(target) + (f": {one.part}" if built.others else "")
    return built


def target_name(target: dict[str, Any]) -> str:
    return str(target.get("name") or target.get("build") or target.get("qualname") or target.get("path"))


def find(target: dict[str, Any]) -> Any:
    """The callable (or module instance) that a target names."""
    if "build" in target:
        return resolve(target["build"])
    return in_file(target["path"], str(target["qualname"]))


def in_file(path: str, qualname: str) -> Any:
    """What a file defines by that name; a script that trains when it is imported is not imported."""
    from .setup_slice import names_of

    parts = qualname.split(".")
    apart = names_of(path, parts[0])
    found: Any = load_file(path) if apart is None else SimpleNamespace(**apart)
    for part in parts:
        found = attribute(found, part, path)
    return found


def is_reference(text: str) -> bool:
    """Whether `text` reads "pkg.mod:callable" (an input spec has a bracket)."""
    return ":" in text and "[" not in text


def resolve(reference: str) -> Any:
    """ "pkg.mod:attribute", or a model of timm or transformers by name ("timm:resnet50", "transformers:bert")."""
    module_name, _, path = reference.partition(":")
    if not path or not module_name:
        raise TargetError(f"`{reference}` is not of the form pkg.mod:callable")
    if module_name in ("timm", "transformers"):
        from .zoo import maker

        return maker(module_name, path)
    if module_name.endswith(".py"):
        return in_file(module_name, path)
    found: Any = module_named(module_name)
    for part in path.split("."):
        found = attribute(found, part, module_name)
    return found


def module_named(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):  # not something that it imports itself
            raise TargetError(f"there is no module `{error.name}`") from None
        raise


def attribute(holder: Any, name: str, where: str) -> Any:
    try:
        return getattr(holder, name)
    except AttributeError:
        raise TargetError(f"`{where}` has no `{name}`") from None


def regular(path: str) -> Path:
    """The file, which is no folder, pipe or device; reading one of these may never end."""
    file = Path(path)
    if not file.is_file():
        raise TargetError(f"{path}: {'not a regular file' if file.exists() else 'no such file'}")
    return file


def load_file(path: str) -> ModuleType:
    """Import a file as the module it is in its project: inside its package, else with its folder on `sys.path`."""
    file = regular(path).resolve()
    parts = [] if file.stem == "__init__" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    name = ".".join(parts)
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return loaded
    if len(parts) > 1:
        return importlib.import_module(name)
    return _load_alone(file, name)


def _load_alone(file: Path, name: str) -> ModuleType:
    if name in sys.modules:  # another project's `train` or `model` came first
        name = f"{name}_{abs(hash(str(file))):x}"
        if name in sys.modules:
            return sys.modules[name]
    if str(file.parent) in sys.path:  # its siblings come before another folder's files of the same name
        sys.path.remove(str(file.parent))
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UnsupportedError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def call_without_arguments(maker: Any, name: str) -> Any:
    if isinstance(maker, nn.Module):
        return maker
    if not callable(maker):
        raise TargetError(f"`{name}` is neither callable nor a module")
    missing = required_parameters(maker)
    if missing:
        raise TargetError(f"`{name}` needs arguments: {', '.join(missing)}")
    return maker()


def required_parameters(maker: Callable[..., Any]) -> list[str]:
    try:
        signature = inspect.signature(maker)
    except (TypeError, ValueError):
        return []
    return [
        p.name for p in signature.parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]  # fmt: skip


def take(result: Any, name: str) -> Built:
    """A module, alone or built, or a tuple, list or dict that holds one and perhaps an optimizer."""
    if isinstance(result, (nn.Module, Built)):
        return result if isinstance(result, Built) else Built(result)
    parts = list(result.values()) if isinstance(result, dict) else result
    if not isinstance(parts, (tuple, list)):
        raise TargetError(f"`{name}` returned {type(result).__name__}, not a torch.nn.Module")
    models = [part for part in parts if isinstance(part, nn.Module) and not is_loss(part)]
    optimizers = [part for part in parts if isinstance(part, Optimizer)]
    if not models:
        raise TargetError(f"`{name}` returned no torch.nn.Module")
    if optimizers and len(models) > 1:
        from .several import chosen

        items = result.items() if isinstance(result, dict) else enumerate(parts)
        found = chosen([(str(key), part) for key, part in items if not is_loss(part)], optimizers, f"`{name}`")
        assert found is not None
        return found
    built = Built(models[0], optimizers[0] if optimizers else None)
    if len(models) > 1:
        built.notes.append(f"`{name}` returned {len(models)} modules: only the first was looked at")
    return built


def is_loss(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.loss._Loss)


def project_path(path: str) -> str:
    """A path as the user writes it: relative to the working directory where it lies below."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive of Windows
        return path
    return path if relative.startswith("..") else relative


def in_optimizer(optimizer: Optimizer | None) -> set[int] | None:
    """Identities of the parameters the optimizer steps; None without an optimizer."""
    if optimizer is None:
        return None
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def named_parameters(model: nn.Module) -> list[tuple[str, Tensor]]:
    return list(model.named_parameters())
