#!/usr/bin/env python3
"""Compares the rules, alerts and the dashboard of deploy/ with the metrics that gimlet serves.

    tests/observability.py --binary target/debug/gimlet

Starts gimlet and reads /metrics. Every metric of the rules and the dashboard must be among them, or among
those of CONDITIONAL, which this server has no reason to serve. Under tests/backends/with the server uses
MySQL and Redis, and serves those too. Needs promtool (the package prometheus),
which also checks the metrics, the rules, and the expressions of the dashboard, and lets each alert fire.
"""

import argparse
import base64
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RULES = ROOT / "deploy/prometheus"
DASHBOARD = ROOT / "deploy/grafana/gimlet.json"
sys.path.insert(0, str(ROOT / "tests/python"))

from gimclient.server import Server  # noqa: E402

# Metrics that only some servers serve; the others compare their names with the descriptions in the source.
OF_BACKENDS = {
    "gimlet_dependency_failures_total", "gimlet_dependency_up", "gimlet_mysql_connections",
    "gimlet_mysql_idle_connections",
}
HAS_BACKENDS = "GIMLET_TEST_MYSQL" in os.environ
# A server with a remote business server counts its failures.
CONDITIONAL = {"gimlet_business_failures_total"} | (set() if HAS_BACKENDS else OF_BACKENDS)
NAME = re.compile(r"\b((?:gimlet|process)_[a-z_0-9]+)\b(?!:)")
HISTOGRAM_PART = re.compile(r"_(bucket|count|sum)$")


def promtool(*arguments, text=None):
    """Runs promtool and returns its complaints, without lines of success."""
    done = subprocess.run(["promtool", *map(str, arguments)], input=text, text=True, capture_output=True,
                          check=False)
    lines = (done.stdout + done.stderr).splitlines()
    if done.returncode == 0:
        return []
    return [line.strip() for line in lines if line.strip() and "SUCCESS" not in line]


def served(binary):
    """Starts gimlet, lets it count a refusal over each door, and returns its metrics as text."""
    secret = base64.b64encode(b"0" * 32).decode()
    # Nobody listens on port 9 of loopback, so both hooks fail.
    hooks = {
        "GIMLET_WEBHOOKS__0__NAME": "events", "GIMLET_WEBHOOKS__0__URL": "http://127.0.0.1:9/",
        "GIMLET_WEBHOOKS__0__SECRETS": "whsec_" + secret,
        "GIMLET_WEBHOOKS__0__EVENTS": "message.created", "GIMLET_WEBHOOKS__0__ALLOW_PRIVATE": "true",
        "GIMLET_WEBHOOKS__1__NAME": "verdicts", "GIMLET_WEBHOOKS__1__URL": "http://127.0.0.1:9/",
        "GIMLET_WEBHOOKS__1__SECRETS": "whsec_" + secret,
        "GIMLET_WEBHOOKS__1__EVENTS": "message.before_send", "GIMLET_WEBHOOKS__1__ALLOW_PRIVATE": "true",
    }
    key = tempfile.NamedTemporaryFile("w", suffix=".pem")
    key.write(subprocess.run([binary, "push", "keys"], capture_output=True, text=True, check=True).stdout)
    key.flush()
    hooks |= {"GIMLET_PUSH__WEBPUSH__KEY": key.name, "GIMLET_PUSH__WEBPUSH__CONTACT": "mailto:ops@example.com"}
    if HAS_BACKENDS:
        hooks |= {
            "GIMLET_STORAGE__KIND": "mysql", "GIMLET_STORAGE__MYSQL_URL": os.environ["GIMLET_TEST_MYSQL"],
            "GIMLET_STORAGE__REDIS_URL": os.environ["GIMLET_TEST_REDIS"],
        }
    server = Server(binary, **hooks)
    try:
        server.start()
        # A call and a packet without a sign-in: both are refused and counted.
        code, _, _ = server.logic.call("/pb.LogicExt/AddFriend", b"")
        assert code != 0, "AddFriend without a sign-in was accepted"
        with socket.create_connection(server.tcp_address, timeout=10) as client:
            client.sendall(b"\x00\x04\x08\x02\x10\x01")
            assert client.recv(100), "the packet was not answered"
        # An operation without credentials, and paths that do not exist: these are one series.
        status, _ = server.get(server.http_address, "/v1/inbox")
        assert status == 401, status
        for at in range(20):
            status, _ = server.get(server.http_address, "/v1/unknown%d" % at)
            assert status == 404, status
        status, body = server.get(server.ops_address, "/metrics")
        assert status == 200, status
        server.stop()
        text = body.decode()
        counted = set(re.findall(r"^gimlet_http_requests_total\{(.*)\} (\d+)$", text, re.M))
        assert counted == {('operation="readInbox",status="4xx"', "1"), ('operation="none",status="4xx"', "20")}, counted
        return text
    finally:
        server.remove()
        key.close()


def described():
    """Returns the metrics that the source describes."""
    source = (ROOT / "server/web/src/metrics.rs").read_text(encoding="utf-8").split("#[cfg(test)]")[0]
    return set(re.findall(r'"((?:gimlet|process)_\w+)"', source))


def expressions():
    """Yields (where, expression) of the dashboard, with its variables replaced."""
    content = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in content["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m")
            yield panel["title"], re.sub(r"\$\w+", ".*", expression)
    for note in content["annotations"]["list"]:
        yield "annotation " + note["name"], note["expr"]
    for variable in content["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((.*), \w+\)", variable.get("definition", "")):
            yield "variable " + variable["name"], re.sub(r"\$\w+", ".*", found[1])


def rule_expressions(path):
    """Returns the text of a file of rules without comments and annotations."""
    kept = (line for line in path.read_text(encoding="utf-8").splitlines()
            if not line.lstrip().startswith(("#", "summary:")))
    return "\n".join(kept)


def used():
    """Yields (file, metric) of everything that the rules and the dashboard read."""
    for path in sorted(RULES.glob("*.yml")):
        for name in NAME.findall(rule_expressions(path)):
            yield path.name, HISTOGRAM_PART.sub("", name)
    for title, expression in expressions():
        for name in NAME.findall(expression):
            yield "panel %r" % title, HISTOGRAM_PART.sub("", name)


def wrong_names(text):
    names = set(re.findall(r"^# TYPE (\w+) ", text, re.M))
    known = names | (CONDITIONAL & described())
    for where, name in sorted(set(used())):
        if name not in known:
            yield "%s reads %s, which gimlet does not serve" % (where, name)
    for name in sorted(CONDITIONAL & names):
        yield "%s is served: remove it from CONDITIONAL" % name
    for name in sorted(names - described()):
        yield "gimlet serves %s, which server/web/src/metrics.rs does not describe" % name


def wrong_recordings():
    """Yields recording rules that nothing records or nothing reads."""
    recorded = set(re.findall(r"record: (\S+)", (RULES / "recording.yml").read_text(encoding="utf-8")))
    texts = rule_expressions(RULES / "alerts.yml") + "\n".join(it for _, it in expressions())
    read = set(re.findall(r"\binstance(?:_\w+)?:\w+:\w+", texts))
    for name in sorted(read ^ recorded):
        yield "%s is %s" % (name, "not recorded" if name in read else "read by nothing")


def wrong_alerts():
    """Yields alerts without a row in the page or a case in the tests, and rows without an alert."""
    alerts = set(re.findall(r"- alert: (\w+)", (RULES / "alerts.yml").read_text(encoding="utf-8")))
    page = set(re.findall(r"^\| `(Gimlet\w+)` \|", (ROOT / "docs/operations.md").read_text(encoding="utf-8"), re.M))
    tests = (RULES / "alerts_test.yml").read_text(encoding="utf-8")
    cases = set(re.findall(r'alertname="(\w+)",instance="bad"', tests))
    for name in sorted(alerts ^ page):
        yield "%s is not in %s" % (name, "docs/operations.md" if name in alerts else "alerts.yml")
    for name in sorted(alerts - cases):
        yield "%s has no case in alerts_test.yml" % name


def wrong_thresholds():
    """Yields alerts that name half of a limit and whose threshold is not half of its default."""
    alerts = (RULES / "alerts.yml").read_text(encoding="utf-8")
    settings = (ROOT / "server/gimlet.toml").read_text(encoding="utf-8")
    for metric, setting in (("gimlet_send_queue", "send_queue"), ("gimlet_job_backlog", "node_backlog")):
        threshold = int(re.search(r"%s > (\d+)" % metric, alerts)[1])
        default = int(re.search(r"^%s = (\d+)" % setting, settings, re.M)[1])
        if 2 * threshold != default:
            yield "the alert about %s is not half of the default of limits.%s, %d" % (metric, setting, default)


def wrong_targets():
    """Yields mistakes in kubernetes.yml, and what it selects pods by and the chart does not have."""
    chart = (ROOT / "deploy/helm/gimlet/templates/_helpers.tpl").read_text(encoding="utf-8")
    for needed in ("app.kubernetes.io/name: gimlet", "app.kubernetes.io/component:", "{name: ops, containerPort:"):
        if needed not in chart:
            yield "kubernetes.yml selects pods by %s, which the chart does not have" % needed
    # Debian's promtool is built without Kubernetes, so it gets a fixed target in the place of the pods.
    text = (RULES / "kubernetes.yml").read_text(encoding="utf-8")
    discovery, fixed = "kubernetes_sd_configs:\n      - role: pod\n", "static_configs:\n      - targets: [a]\n"
    if discovery not in text:
        yield "kubernetes.yml does not discover pods"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("recording.yml", "alerts.yml"):
            shutil.copy(RULES / name, folder)
        path = pathlib.Path(folder) / "kubernetes.yml"
        path.write_text(text.replace(discovery, fixed), encoding="utf-8")
        yield from promtool("check", "config", path)


def wrong_expressions():
    """Lets promtool parse the expressions of the dashboard, as recording rules."""
    found = list(expressions())
    rules = [{"record": "panel:%d" % at, "expr": it} for at, (_, it) in enumerate(found)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)  # JSON is YAML too
        file.flush()
        for line in promtool("check", "rules", file.name):
            yield "the dashboard: " + line
    assert len(found) > 40, "the search for expressions is broken: %d" % len(found)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    text = served(str(pathlib.Path(parser.parse_args().binary).resolve()))
    wrong = [*wrong_names(text), *wrong_recordings(), *wrong_alerts(), *wrong_thresholds(),
             *wrong_expressions()]
    wrong += promtool("check", "metrics", text=text)
    wrong += promtool("check", "config", RULES / "prometheus.yml")
    wrong += wrong_targets()
    wrong += promtool("test", "rules", RULES / "alerts_test.yml")
    done = subprocess.run([sys.executable, ROOT / "deploy/grafana/dashboard.py", "--check"], check=False,
                          capture_output=True, text=True)
    wrong += done.stderr.splitlines()
    for line in wrong:
        print(line)
    print("%d metrics served, %d read, %d mistakes" % (
        len(re.findall("^# TYPE", text, re.M)), len(set(used())), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
