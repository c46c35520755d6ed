"""Measured waste in words: what a pass or a step took with what is wasted, and what it takes without it."""

from __future__ import annotations

from collections.abc import Mapping

from freezelint.model_report import size


def told(numbers: Mapping[str, float], unmeasured: str) -> str:
    """One line of figures, the reason why there are none, or nothing for a fact that is no waste."""
    what = next((name for name in ("step", "backward") if f"{name}_ms" in numbers), "")
    if not what:
        return f"not measured: {unmeasured}" if unmeasured else ""
    parts = [timing(what, numbers)]
    parts += [counts(f"{role}_{unit}", numbers) for unit in ("operations", "kernels") for role in ("dgrad", "wgrad")]
    if numbers.get("kept_bytes"):
        parts.append(f"{size(int(numbers['kept_bytes']))} saved for it by forward")
    change = numbers["peak_bytes_without"] - numbers["peak_bytes"]
    if change:
        whose = "" if what == "step" else " of backward"
        parts.append(f"peak memory{whose} {'+' if change > 0 else '-'}{size(abs(int(change)))}")
    return ", ".join(part for part in parts if part)


def timing(what: str, numbers: Mapping[str, float]) -> str:
    now, without = numbers[f"{what}_ms"], numbers[f"{what}_ms_without"]
    spread, other = numbers[f"{what}_spread_ms"], numbers[f"{what}_spread_ms_without"]
    if without < 0.001 * now:
        return f"{what} {rounded(now)} ms (±{rounded(spread)}), none without it"
    clear = not 0.25 < numbers["rounds_faster_without"] / numbers["rounds"] < 0.75
    ratio = f"{without / now:.2g}x" if clear else "no clear difference"
    return (
        f"{what} {rounded(now)} ms (±{rounded(spread)}), without it {rounded(without)} ms (±{rounded(other)}), {ratio}"
    )


def rounded(value: float) -> str:
    """Two or three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def counts(name: str, numbers: Mapping[str, float]) -> str:
    now, without = int(numbers.get(name, 0)), int(numbers.get(f"{name}_without", 0))
    return f"{name.replace('_', ' ')} {now} → {without}" if now != without else ""
