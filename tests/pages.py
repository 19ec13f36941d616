#!/usr/bin/env python3
"""Compares the documentation and deploy/ with the configuration and metrics of the server.

Checks that docs/configuration.md lists exactly the keys of server/gimlet.toml, with their environment
variables and defaults; that docs/operations.md lists every metric, docs/errors.md every code and
docs/grpc.md every method; that README.zh-CN.md has the commands of README.md; and that every GIMLET_
variable named in a page or in deploy/ exists. Changes no file.
"""

import re
import sys
from http import HTTPStatus
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Names that are not settings of gimlet: test variables, those of the commands for operators, and prefixes written with the placeholder "…".
FOREIGN = re.compile(r"GIMLET_TEST_\w*|GIMLET_URL|GIMLET_API_KEY|GIMLET_|GIMLET_[A-Z]+__")
SUFFIXES = {".md", ".yaml", ".tpl", ".txt", ".service", ".example", ".sh", ""}


def server_keys():
    """Returns {(section or "", key): default as text} from the configuration template.

    A section that may occur several times is commented out as a whole; its name ends with __0.
    """
    found, section, mark = {}, "", ""
    for line in (ROOT / "server/gimlet.toml").read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[([\w.]+)\]", line):
            section, mark = header[1].replace(".", "__"), ""
        elif header := re.fullmatch(r"#\[\[(\w+)\]\]", line):
            section, mark = header[1] + "__0", "#"
        elif entry := re.fullmatch(mark + r"(\w+) = (.*)", line):
            found[section, entry[1]] = entry[2].strip('"')
    return found


def page_keys():
    """Returns {(section or "", key): (variable, default)} from the tables of the page."""
    found, section = {}, ""
    for line in (ROOT / "docs/configuration.md").read_text(encoding="utf-8").splitlines():
        if header := re.match(r"## \[\[(\w+)\]\]", line):
            section = header[1] + "__0"
        elif header := re.match(r"## \[?([\w.]+)\]?", line):
            section = "" if header[1] == "General" else header[1].replace(".", "__")
        elif row := re.match(r"\| `(\w+)` \| `(\w+)` \| (.*?) \|", line):
            found[section, row[1]] = row[2], row[3]
    return found


def variable(section, key):
    return ("GIMLET_%s__%s" % (section, key) if section else "GIMLET_" + key).upper()


def wrong_rows(server, page):
    for section, key in sorted(server.keys() | page.keys()):
        name = "%s.%s" % (section, key)
        if (section, key) not in page:
            yield "docs/configuration.md has no row for %s" % name
        elif (section, key) not in server:
            yield "docs/configuration.md has a row for %s, which is not a key of gimlet" % name
        else:
            given, default = page[section, key]
            if given != variable(section, key):
                yield "the environment variable of %s is %s, docs/configuration.md says %s" % (
                    name, variable(section, key), given)
            wanted = server[section, key]
            if wanted and default != "`%s`" % wanted:
                yield "the default of %s is %s, docs/configuration.md says %s" % (name, wanted, default)
            if not wanted and default.startswith("`"):
                yield "%s has no default, docs/configuration.md says %s" % (name, default)


def wrong_metrics():
    """Yields the differences between the metrics of the server and those of the page."""
    source = (ROOT / "server/web/src/metrics.rs").read_text(encoding="utf-8").split("#[cfg(test)]")[0]
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    served = set(re.findall(r'"(gimlet_\w+)"', source))
    shown = set(re.findall(r"`(gimlet_\w+?)`", page))
    for name in sorted(served - shown):
        yield "docs/operations.md does not list the metric %s" % name
    for name in sorted(shown - served - {"gimlet_core"}):
        yield "docs/operations.md lists the metric %s, which gimlet does not have" % name
    # tests/observability.py compares them with a running server; this finds a renamed metric without one.
    for path in sorted((ROOT / "deploy/prometheus").glob("*.yml")) + [ROOT / "deploy/grafana/gimlet.json"]:
        text = path.read_text(encoding="utf-8")
        read = {re.sub(r"_(bucket|count|sum)$", "", it) for it in re.findall(r"\b(gimlet_\w+)\b(?!:)", text)}
        for name in sorted(read - served):
            yield "%s reads the metric %s, which gimlet does not have" % (path.relative_to(ROOT), name)


def page_rows(page, pattern):
    return set(re.findall(pattern, (ROOT / page).read_text(encoding="utf-8"), re.M))


def differences(page, what, shown, right):
    """Yields the rows of a page that the sources do not have, and those that the page lacks."""
    for row in sorted(right - shown):
        yield "%s has no row for the %s %s" % (page, what, " ".join(row))
    for row in sorted(shown - right):
        yield "%s has a row for the %s %s, which the sources do not have" % (page, what, " ".join(row))


def wrong_codes():
    """Yields the differences between docs/errors.md and the codes of the sources."""
    error = (ROOT / "core/src/error.rs").read_text(encoding="utf-8")
    body = error.split("const fn code(&self)")[1].split("\n    }\n")[0]
    codes = {name: code for names, code in re.findall(r"(Self::[^=]+) => (\d+)", body)
             for name in re.findall(r"Self::(\w+)", names)}
    problem = (ROOT / "transport/http/src/problem.rs").read_text(encoding="utf-8")
    kinds = re.findall(r'RequestRefusal::(\w+)[^=]*=>\s*\(\s*StatusCode::(\w+),\s*"([a-z-]+)",?\s*\)', problem)
    right = {(codes[name], str(HTTPStatus[status].value), kind) for name, status, kind in kinds}
    assert len(right) > 15, "the search for refusals is broken: %r" % right
    shown = page_rows("docs/errors.md", r"^\| (\d+) \| (\d{3}) \| `([a-z-]+)` \|")
    yield from differences("docs/errors.md", "refusal", shown, right)
    proto = (ROOT / "proto/proto/pb/connect.ext.proto").read_text(encoding="utf-8")
    right = {(code, name) for name, code in re.findall(r"CLOSE_CODE_(\w+) = (4\d{3});", proto)}
    shown = page_rows("docs/errors.md", r"^\| (4\d{3}) \| `(\w+)` \|")
    yield from differences("docs/errors.md", "close code", shown, right)


def wrong_methods():
    """Yields the differences between docs/grpc.md and the .proto files. Older names of services are left out."""
    right = set()
    for path in sorted((ROOT / "proto/proto/pb").glob("*.proto")):
        text = path.read_text(encoding="utf-8")
        for name, body in re.findall(r"^service (\w+) \{(.*?)^\}", text, re.M | re.S):
            if not name.startswith("User"):
                right |= {(name, method) for method in re.findall(r"^  rpc (\w+)", body, re.M)}
    shown = set()
    for table in (ROOT / "docs/grpc.md").read_text(encoding="utf-8").split("\n\n"):
        if header := re.match(r"\| `(\w+)` \| \|\n", table):
            shown |= {(header[1], method) for method in re.findall(r"^\| `(\w+)` \| \w", table, re.M)}
    yield from differences("docs/grpc.md", "method", shown, right)


def commands_of(page):
    """Returns the blocks of code of a page without comments, and its figures and commands in backticks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\S*\n(.*?)^```", text, re.M | re.S)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    inline = {it for it in re.findall(r"`([^`]+)`", prose)}
    figures = set(re.findall(r"\d{1,3}(?:,\d{3})+", prose))
    return [re.sub(r"\s+//.*", "", block) for block in blocks], inline, figures


def wrong_translation():
    """Yields what the Chinese README has otherwise than the English one."""
    english, chinese = commands_of("README.md"), commands_of("README.zh-CN.md")
    if english[0] != chinese[0]:
        yield "the commands of README.zh-CN.md are not those of README.md: copy the blocks of code that changed"
    for one, what in ((1, "code"), (2, "figure")):
        for text in sorted(english[one] - chinese[one]):
            yield "README.zh-CN.md lacks the %s %s of README.md" % (what, text)
        for text in sorted(chinese[one] - english[one]):
            yield "README.zh-CN.md has the %s %s, which README.md does not have" % (what, text)


def texts():
    yield from (ROOT / "README.md", ROOT / "README.zh-CN.md")
    for folder in ("docs", "deploy", "tests/python"):
        yield from (path for path in sorted((ROOT / folder).rglob("*"))
                    if path.is_file() and path.suffix in SUFFIXES)


def unknown_variables(known):
    for path in texts():
        for name in sorted(set(re.findall(r"GIMLET_[A-Z0-9_]*", path.read_text(encoding="utf-8")))):
            if name not in known and not FOREIGN.fullmatch(name):
                yield "%s names %s, which is not a variable of gimlet" % (path.relative_to(ROOT), name)


def main():
    server = server_keys()
    known = {variable(section, key) for section, key in server}
    wrong = [*wrong_rows(server, page_keys()), *wrong_metrics(), *wrong_codes(), *wrong_methods(), *wrong_translation(),
             *unknown_variables(known)]
    for line in wrong:
        print(line)
    print("%d keys, %d mistakes" % (len(server), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
