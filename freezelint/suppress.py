"""Comments that silence findings, and the ones that silence nothing (FRZ001).

`# noqa` and `# noqa: FRZ101, E501` as everywhere; `# freezelint: ignore[FRZ101]` and `# freezelint: ignore` for this
tool alone; `# freezelint: ignore-file` or `ignore-file[FRZ1]` anywhere in the file. A comment holds for the statement
it ends, however many lines that has.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Collection, Iterable, Iterator

from freezelint import book
from freezelint.findings import Edit, Finding, Fix, Location, Safety, Severity
from freezelint.fixes import Lines
from freezelint.records import field, record

_CODES = r"[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*"
_NOQA = re.compile(rf"#\s*noqa(?:\s*:\s*(?P<codes>{_CODES})(?=[\s,#]|$)|(?=\s*(?:#|$)|\s+[^\s:]))", re.IGNORECASE)
_OURS = re.compile(r"#\s*freezelint:\s*(?P<file>ignore-file|ignore)(?:\[(?P<codes>[^\]]*\w[^\]]*)\]|(?![\w\[-]))")
_CODE = re.compile(r"[A-Za-z]+[0-9]*")


@record
class Suppression:
    """One comment: the lines it holds for, and the codes it names (none: all of them)."""

    location: Location  # of the comment's directive
    lines: range | None  # None: the whole file
    codes: tuple[str, ...]
    ours: bool
    used: set[str] = field(default_factory=set)

    def silences(self, finding: Finding) -> bool:
        if self.lines is not None and finding.location.line not in self.lines:
            return False
        code = next((code for code in self.codes if finding.code.startswith(code)), None)
        if self.codes and code is None:
            return False
        self.used.add(code or "")
        return True


def silence(
    path: str, text: str, findings: Iterable[Finding], judged: Collection[str]
) -> tuple[list[Finding], list[Finding]]:
    """(the findings that remain, FRZ001 for suppressions that did nothing), among codes that were `judged`."""
    suppressions = list(read(path, text))
    kept = []
    for finding in findings:
        hit = [suppression.silences(finding) for suppression in suppressions]
        if not any(hit):
            kept.append(finding)
    lines = Lines(text)
    unused = [report for item in suppressions for report in _unused(item, lines, judged)]
    return kept, unused


def read(path: str, text: str) -> Iterator[Suppression]:
    """Every suppression comment of a file."""
    for comment, first, last in _comments(text):
        line, column = comment.start
        noqa, ours = _NOQA.search(comment.string), _OURS.search(comment.string)
        match = ours or noqa
        if match is None:
            continue
        at = Location(path, line, column + match.start(), line, column + match.end())
        codes = tuple(code.upper() for code in _CODE.findall(match.group("codes") or ""))
        whole_file = ours is not None and ours.group("file") == "ignore-file"
        yield Suppression(at, None if whole_file else range(first, last + 1), codes, ours is not None)


def _comments(text: str) -> Iterator[tuple[tokenize.TokenInfo, int, int]]:
    """(comment, first and last line of the logical line it stands in); stops where the text cannot be tokenized."""
    first = 0
    waiting: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                waiting.append(token)
            elif token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER):
                if token.type == tokenize.NL and first:
                    continue  # inside a statement
                for comment in waiting:
                    own = comment.start[0]
                    yield comment, first or own, max(own, token.start[0] if first else own)
                waiting, first = [], 0
            elif token.type not in (tokenize.INDENT, tokenize.DEDENT):
                first = first or token.start[0]
    except (tokenize.TokenError, SyntaxError):
        for comment in waiting:
            yield comment, comment.start[0], comment.start[0]


def _unused(item: Suppression, lines: Lines, judged: Collection[str]) -> Iterator[Finding]:
    """FRZ001 for our codes in `item` that were judged and silenced nothing."""
    if not item.codes:
        idle = item.ours and not item.used
        if idle:
            yield _report(item, "", lines, ())
        return
    ours = [code for code in item.codes if code.startswith("FRZ")]
    idle_codes = [code for code in ours if code not in item.used and _could_speak(code, judged)]
    if idle_codes:
        rest = tuple(code for code in item.codes if code not in idle_codes)
        yield _report(item, ", ".join(f"`{code}`" for code in idle_codes), lines, rest)


def _could_speak(code: str, judged: Collection[str]) -> bool:
    """Whether a rule of that code was asked; of a code that no rule has, nothing more can come."""
    return any(known.startswith(code) for known in judged) or not any(known.startswith(code) for known in book.codes())


def _report(item: Suppression, codes: str, lines: Lines, rest: tuple[str, ...]) -> Finding:
    """The finding, with the edit that takes the idle codes (or the whole comment) away."""
    at = item.location
    text = lines.line(at.line)
    if rest:
        directive = text[at.column : at.end_column]
        head = (
            directive[: directive.index("[") + 1] if "[" in directive else directive[: directive.index(":") + 1] + " "
        )
        edit = Edit(at, head + ", ".join(rest) + ("]" if "[" in directive else ""))
    else:
        edit = _removal(at, text, lines)
    message = f"suppression of {codes} silences nothing" if codes else "suppression comment silences nothing"
    return Finding("FRZ001", message, at, Severity.WARNING, fix=Fix("remove it", (edit,), Safety.SAFE))


def _removal(at: Location, text: str, lines: Lines) -> Edit:
    """Take the comment away with the blanks before it, and the line where nothing else stands on it; words stay."""
    before, after = text[: at.column], text[at.end_column :]
    if after.strip():
        to = at.end_column + len(after) - len(after.lstrip())
        return Edit(Location(at.path, at.line, at.column, at.line, to), "" if after.lstrip()[0] == "#" else "# ")
    if not before.strip() and at.line < len(lines.starts):
        return Edit(Location(at.path, at.line, 0, at.line + 1, 0), "")
    return Edit(Location(at.path, at.line, len(before.rstrip()), at.line, len(text)), "")


def add_noqa(text: str, findings: Iterable[Finding]) -> str:
    """`text` with `# noqa: CODES` at the end of every statement that has findings."""
    lines = Lines(text)
    wanted: dict[int, set[str]] = {}
    for finding in findings:
        wanted.setdefault(_last_line(text, finding.location.line), set()).add(finding.code)
    known = {item.location.line: item for item in read("", text) if not item.ours and item.codes}
    for number in sorted(wanted, reverse=True):
        codes = wanted[number]
        old = lines.line(number)
        start = lines.starts[number - 1]
        end = start + len(old)
        item = known.get(number)
        if item:
            codes |= set(item.codes)
            end, start = start + item.location.end_column, start + item.location.column
            new = f"# noqa: {', '.join(sorted(codes))}"
        else:
            new = f"{old.rstrip()}  # noqa: {', '.join(sorted(codes))}"
        text = text[:start] + new + text[end:]
    return text


def _last_line(text: str, line: int) -> int:
    """The last line of the logical line that holds `line`: no comment fits in a string or after a backslash."""
    first = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NEWLINE:
                if first <= line <= token.start[0]:
                    return token.start[0]
                first = 0
            elif token.type not in (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT):
                first = first or token.start[0]
    except (tokenize.TokenError, SyntaxError):
        pass
    return line
