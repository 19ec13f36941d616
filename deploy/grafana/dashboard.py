#!/usr/bin/env python3
"""Writes the Grafana dashboard gimlet.json from the list of panels below.

    deploy/grafana/dashboard.py            writes gimlet.json
    deploy/grafana/dashboard.py --check    fails if gimlet.json is not what this program writes

Import gimlet.json in Grafana 10 or later (Dashboards, New, Import) and choose your Prometheus.
"""

import json
import pathlib
import sys

TARGET = pathlib.Path(__file__).resolve().parent / "gimlet.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
NODES = 'job=~"$job",instance=~"$instance"'
COLUMNS, ROW_HEIGHT, PANEL_HEIGHT, STAT_HEIGHT = 24, 1, 8, 4


def rate(metric, labels="", by="instance"):
    """Returns the rate of a counter over the nodes that are selected."""
    selected = NODES + ("," + labels if labels else "")
    return "sum by (%s) (rate(%s{%s}[$__rate_interval]))" % (by, metric, selected)


def gauge(metric):
    return "%s{%s}" % (metric, NODES)


# Rows of panels: (title, unit, width, [(expression, legend)], description). The width counts in
# twenty-fourths of the page.
STATS = [
    ("Nodes ready", "none", 4, [("sum(gimlet_ready{%s})" % NODES, "")],
     "Nodes whose /readyz answers 200."),
    ("Connections", "short", 4, [("sum(gimlet_connections{%s})" % NODES, "")],
     "Signed-in connections of all nodes."),
    ("Sends", "ops", 4, [("sum(instance:gimlet_sends:rate5m{%s})" % NODES, "")],
     "Sends a second over sockets and gRPC; a rule of recording.yml."),
    ("Not stored or unknown", "ops", 4,
     [('sum(instance_code:gimlet_refusals:rate5m{%s,code=~"14|4"}) or vector(0)' % NODES, "")],
     "Answers with code 14 (nothing was stored) or 4 (the outcome is unknown)."),
    ("Lagging connections", "short", 4,
     [("sum(instance:gimlet_lagging:current{%s})" % NODES, "")],
     "Connections that read their inbox because they fell behind their pushes."),
    ("Alerts", "none", 4, [('sum(ALERTS{alertname=~"Gimlet.*",alertstate="firing"}) or vector(0)', "")],
     "Alerts of alerts.yml that fire."),
]
ROWS = [
    ("Connections", [
        ("Connections", "short", 8, [
            (gauge("gimlet_connections"), "signed in {{instance}}"),
            (gauge("gimlet_sockets"), "open {{instance}}")],
         "Open connections include those that have not signed in yet."),
        ("Opened and closed", "ops", 8, [
            (rate("gimlet_opened_total"), "opened {{instance}}"),
            (rate("gimlet_closed_total"), "closed {{instance}}")], ""),
        ("Rejected", "ops", 8, [
            (rate("gimlet_turned_away_total"), "at a limit {{instance}}"),
            (rate("gimlet_wrong_tokens_total"), "wrong token {{instance}}"),
            (rate("gimlet_undecodable_total"), "undecodable frame {{instance}}")], ""),
        ("Frames", "ops", 12, [
            (rate("gimlet_frames_in_total"), "in {{instance}}"),
            (rate("gimlet_frames_out_total"), "out {{instance}}")],
         "Requests of clients; answers and pushes."),
        ("Lag", "ops", 12, [
            (rate("gimlet_lags_total"), "fell behind {{instance}}"),
            (rate("gimlet_caught_up_total"), "caught up {{instance}}")],
         "A connection that falls behind loses nothing: it is served from its inbox."),
    ]),
    ("Messages", [
        ("Sends", "ops", 8, [("instance:gimlet_sends:rate5m{%s}" % NODES, "{{instance}}")], ""),
        ("Pushes", "ops", 8, [
            (rate("gimlet_pushed_total"), "offered {{instance}}"),
            (rate("gimlet_parcels_dropped_total"), "dropped {{instance}}")],
         "Entries and live messages offered to connections; delivery batches for other nodes that were dropped."),
        ("Waiting for the storage", "short", 8, [
            (gauge("gimlet_send_queue"), "sends {{instance}}")], "limits.send_queue is the bound."),
        ("Bytes of sends not answered", "bytes", 8, [
            (gauge("gimlet_send_queue_bytes"), "{{instance}}")], "limits.send_queue_bytes is the bound."),
        ("Large groups", "short", 8, [
            (gauge("gimlet_job_backlog"), "entries {{instance}}"),
            (gauge("gimlet_job_groups"), "groups {{instance}}")],
         "Entries of sends to groups above 1,000 members that are accepted and not delivered yet."),
        ("Refusals over sockets, by code", "ops", 8, [
            (rate("gimlet_socket_refusals_total", by="code"), "{{code}}")],
         "docs/protocol.md explains the codes."),
    ]),
    ("gRPC", [
        ("Calls, by method", "ops", 8, [
            (rate("gimlet_request_seconds_count", by="method"), "{{method}}")], ""),
        ("99th percentile, by method", "s", 8, [
            ("max by (method) (instance_method:gimlet_request_seconds:p99_5m{%s})" % NODES, "{{method}}")],
         "Of the slowest node; a rule of recording.yml."),
        ("Refusals, by code", "ops", 8, [
            (rate("gimlet_refusals_total", by="method, code"), "{{method}} {{code}}")], ""),
    ]),
    ("HTTP", [
        ("Requests, by operation", "ops", 6, [
            (rate("gimlet_http_requests_total", by="operation"), "{{operation}}")],
         "Requests to the HTTP/JSON API; those of no operation are unknown paths."),
        ("Requests, by status", "ops", 6, [
            (rate("gimlet_http_requests_total", by="status"), "{{status}}")], "docs/errors.md explains the answers."),
        ("HTTP 99th percentile, by operation", "s", 6, [
            ("max by (operation) (instance_operation:gimlet_http_request_seconds:p99_5m{%s})" % NODES,
             "{{operation}}")],
         "Of the slowest node; a rule of recording.yml. A request that waits for an entry takes as long as it asks to."),
        ("Event streams", "short", 6, [
            (gauge("gimlet_http_streams"), "{{instance}}")], "Each is one of the connections above."),
    ]),
    ("Storage and other servers", [
        ("MySQL and Redis answer", "none", 6, [
            (gauge("gimlet_dependency_up"), "{{dependency}} {{instance}}")], ""),
        ("Failed calls", "ops", 6, [
            (rate("gimlet_dependency_failures_total", by="dependency, instance"), "{{dependency}} {{instance}}"),
            (rate("gimlet_business_failures_total"), "business server {{instance}}")], ""),
        ("Connections to MySQL", "short", 6, [
            (gauge("gimlet_mysql_connections"), "all {{instance}}"),
            (gauge("gimlet_mysql_idle_connections"), "idle {{instance}}")], ""),
        ("Free disk space", "bytes", 6, [
            (gauge("gimlet_disk_free_bytes"), "{{instance}}")], "Below storage.min_free sends are refused."),
    ]),
    ("Webhooks", [
        ("Deliveries", "ops", 6, [
            (rate("gimlet_webhook_delivered_total", by="webhook"), "delivered {{webhook}}"),
            (rate("gimlet_webhook_failed_total", by="webhook"), "failed {{webhook}}"),
            (rate("gimlet_webhook_retries_total", by="webhook"), "repeated {{webhook}}")], ""),
        ("Events that wait", "short", 6, [
            ("sum by (webhook) (gimlet_webhook_backlog{%s})" % NODES, "{{webhook}}")], ""),
        ("Age of the oldest event", "s", 6, [
            ("max by (webhook) (gimlet_webhook_oldest_seconds{%s})" % NODES, "{{webhook}}")], ""),
        ("Given up", "short", 6, [
            ("sum by (webhook) (gimlet_webhook_dead_letters{%s})" % NODES, "dead letters {{webhook}}"),
            ("sum by (webhook) (increase(gimlet_webhook_given_up_total{%s}[1h]))" % NODES,
             "given up in an hour {{webhook}}"),
            ("sum by (webhook) (increase(gimlet_webhook_dropped_total{%s}[1h]))" % NODES,
             "removed in an hour {{webhook}}")], ""),
        ("Verdicts of message.before_send", "ops", 24, [
            (rate("gimlet_before_send_total", by="verdict"), "{{verdict}}")], ""),
    ]),
    ("Push notifications", [
        ("Accepted and failed", "ops", 12, [
            (rate("gimlet_push_sent_total", by="provider"), "accepted {{provider}}"),
            (rate("gimlet_push_failed_total", by="provider"), "failed {{provider}}")],
         "Failed attempts are repeated."),
        ("Given up", "ops", 12, [
            (rate("gimlet_push_removed_total", by="provider"), "address unknown {{provider}}"),
            (rate("gimlet_push_rejected_total", by="provider"), "refused {{provider}}"),
            (rate("gimlet_push_expired_total", by="provider"), "too old {{provider}}")],
         "Addresses that the service does not know any more are removed."),
    ]),
    ("Process", [
        ("Memory", "bytes", 6, [(gauge("process_resident_memory_bytes"), "{{instance}}")], ""),
        ("CPU", "none", 6, [(rate("process_cpu_seconds_total"), "{{instance}}")], "Seconds of CPU time a second: 2 are two busy cores."),
        ("Descriptors", "percentunit", 6, [
            ("instance:gimlet_descriptors:ratio{%s}" % NODES, "{{instance}}")], ""),
        ("Threads", "short", 6, [(gauge("process_threads"), "{{instance}}")], ""),
        ("Nodes known", "none", 12, [(gauge("gimlet_nodes"), "{{instance}}")],
         "Connect nodes that this node sends pushes to."),
        ("Uptime", "s", 12, [(gauge("gimlet_uptime_seconds"), "{{instance}}")], ""),
    ]),
]


def targets(queries):
    letters = "ABCDEFGH"
    return [{"refId": letters[at], "datasource": SOURCE, "expr": expression, "legendFormat": legend,
             "editorMode": "code", "range": True} for at, (expression, legend) in enumerate(queries)]


def panel(number, kind, place, content):
    title, unit, _, queries, description = content
    made = {"id": number, "type": kind, "title": title, "description": description,
            "datasource": SOURCE, "gridPos": place, "targets": targets(queries),
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []}}
    if kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    else:
        made["fieldConfig"]["defaults"]["custom"] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
        made["options"] = {"legend": {"displayMode": "list", "placement": "bottom"},
                           "tooltip": {"mode": "multi", "sort": "desc"}}
    return made


def panels():
    """Places the panels of each row from left to right, and in a further line when one is full."""
    made, top = [], 0

    def place_all(kind, height, contents):
        nonlocal top
        left = 0
        for content in contents:
            if left + content[2] > COLUMNS:
                left, top = 0, top + height
            place = {"x": left, "y": top, "w": content[2], "h": height}
            made.append(panel(len(made) + 1, kind, place, content))
            left += content[2]
        top += height

    place_all("stat", STAT_HEIGHT, STATS)
    for title, contents in ROWS:
        made.append({"id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                     "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": ROW_HEIGHT}})
        top += ROW_HEIGHT
        place_all("timeseries", PANEL_HEIGHT, contents)
    return made


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "definition": query,
            "query": {"query": query, "refId": name}, "includeAll": True, "multi": True, "refresh": 2,
            "current": {"text": ["All"], "value": ["$__all"]}, "sort": 1}


def dashboard():
    return {
        "uid": "gimlet", "title": "gimlet", "tags": ["gimlet"], "schemaVersion": 39, "editable": True,
        "graphTooltip": 1, "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "",
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
            variable("job", "Job", "label_values(gimlet_ready, job)"),
            variable("instance", "Node", 'label_values(gimlet_ready{job=~"$job"}, instance)')]},
        "annotations": {"list": [
            {"name": "Alerts", "datasource": SOURCE, "enable": True, "iconColor": "red",
             "expr": 'ALERTS{alertname=~"Gimlet.*",alertstate="firing"}', "titleFormat": "{{alertname}}",
             "textFormat": "{{instance}}"}]},
        "panels": panels(),
    }


def main():
    text = json.dumps(dashboard(), indent=1) + "\n"
    if sys.argv[1:] == ["--check"]:
        if TARGET.read_text(encoding="utf-8") != text:
            sys.exit("deploy/grafana/gimlet.json is not what dashboard.py writes: run deploy/grafana/dashboard.py")
    else:
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
