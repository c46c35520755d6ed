"""FRZ313: parameters are trained from which no way leads to the loss: a module built and not used, a result dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from freezelint.findings import ClaimKind, Finding, Severity
from freezelint.gradient_map import GradientMap, Node
from freezelint.model_report import ModelReport
from freezelint.rule import Rule, locate
from freezelint.source.flags import tried
from freezelint.source.loss_terms import losses, lost_names, runs_alone, without_grad_mode
from freezelint.source.other_uses import used_otherwise
from freezelint.source.story import ModuleCall, Story
from freezelint.source.unreached import only_without_grad, unreached, unused

RULE = Rule(
    code="FRZ313",
    name="unreachable-parameter",
    message="no loss depends on `{name}`: {why}, it stays at its initial values",
    claim=ClaimKind.STARVED,
)
BESIDE = "`loss` does not reach `{name}`, the output `{output}` does: its {count} only if that is added"


@RULE.on(Story)
def check(story: Story) -> Iterator[Finding]:
    for row in unused(story):
        yield RULE.report(row.place, name=row.name, why="it is built and never used", subject=row.name)
    for row, cut in only_without_grad(story):
        why = f"it is only read under `{cut.text}`"
        yield RULE.report(row.place, name=row.name, why=why, subject=row.name)
    for row in unreached(story):
        if row.test is not None:
            why = f"`{row.test.text}` never lets the program use it"
            never = ((row.test, "never so"),)
            level = Severity.WARNING
            yield RULE.report(row.place, name=row.name, why=why, subject=row.name, related=never, severity=level)
        elif row.call is None:
            yield RULE.report(row.place, name=row.name, why="it is built and never used", subject=row.name)
        else:
            built = ((row.place, "built here"),)
            why = "its result is not used"
            yield RULE.report(row.call, name=row.name, why=why, subject=row.name, related=built)


@RULE.on(GradientMap)
def check_map(map_: GradientMap, subject: Any = None) -> Iterator[Finding]:
    """A network that runs without grad mode only; and, of a traced or a real step, whatever no loss depends on
    though every forward comes by."""
    for row in losses(map_, subject):
        if (
            not row.whole
            and runs_alone(map_, row, subject)
            and row.cut.place is not None
            and not without_grad_mode(map_, row)
        ):
            name = lost_names(row, subject)
            if isinstance(subject, Story) and meant_frozen(subject, row.cut.place):
                continue
            why = f"it only runs under `{row.cut.text.lstrip('@')}`"
            yield RULE.report(row.cut.place, name=name.replace("`", ""), why=why, subject=name.replace("`", ""))
    if isinstance(subject, Story) or not map_.losses() or getattr(subject, "guessed", False):
        return  # what values decided against may be what other inputs need
    starts = [loss.id for loss in map_.losses()]
    beside = {node.id for output in map_.outputs() for node in _only_by(map_, output, starts)}
    for place, nodes in _by_place(node for node in map_.unreachable(starts) if node.id not in beside):
        name = nodes[0].module or nodes[0].name
        if not used_otherwise(place, name):
            why = "1 parameter gets no gradient" if len(nodes) == 1 else f"{len(nodes)} parameters get no gradient"
            yield RULE.report(place, name=name, why=why, subject=name)


@RULE.on(ModelReport)
def check_outputs(report: ModelReport) -> Iterator[Finding]:
    """What only another output of the model could train: right where the training adds it to the loss."""
    map_ = report.map
    for output in map_.outputs():
        for place, nodes in _by_place(_only_by(map_, output, report.starts)):
            name, told = nodes[0].module or nodes[0].name, output.name.removeprefix("output.")
            count = "1 parameter trains" if len(nodes) == 1 else f"{len(nodes)} parameters train"
            yield RULE.report(
                place, name=name, output=told, count=count, message=BESIDE, severity=Severity.HINT, subject=name
            )


def meant_frozen(story: Story, block: object) -> bool:
    """Whether a line was to freeze what runs under a block, and did not: that line is the mistake."""
    inside = (call.module for call in story.of(ModuleCall) if call.context.mode.spot == block)
    return any(tried(module, story) for module in inside)


def _only_by(map_: GradientMap, output: Node, starts: list[int]) -> list[Node]:
    return map_.parameters(map_.reached([output.id]) - map_.reached(starts))


def _by_place(nodes: Iterable[Node]) -> Iterable[tuple[Any, list[Node]]]:
    rows: dict[Any, list[Node]] = {}
    for node in nodes:
        if node.place is not None:
            rows.setdefault(locate(node.place), []).append(node)
    return rows.items()
