"""Upload and download, health, readiness, metrics, gRPC health."""

import json
import struct
import urllib.error
import urllib.request
import zlib

from gimclient import messages as m
from gimclient.cases import case
from gimclient.device import call
from gimclient.fixture import assert_equal

BOUNDARY = "a7f3-boundary-c2"


def png():
    """Returns a picture of one pixel."""
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b""))


def upload(server, data, field="file", name="avatar.png", kind="image/png"):
    """Posts one part and returns (HTTP status, body)."""
    head = ('--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n'
            "Content-Type: %s\r\n\r\n" % (BOUNDARY, field, name, kind)).encode()
    request = urllib.request.Request(
        "http://%s:%d/upload" % server.http_address,
        head + data + ("\r\n--%s--\r\n" % BOUNDARY).encode(),
        {"Content-Type": "multipart/form-data; boundary=" + BOUNDARY})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def uploaded_url(server, data):
    status, body = upload(server, data)
    assert_equal(status, 200)
    answer = json.loads(body)
    assert_equal((answer["code"], answer["message"]), (0, "success"))
    return answer["data"]["url"]


def assert_upload_refused(status, body):
    """Accepts a 4xx status, or gim's 200 with a code other than 0."""
    assert 400 <= status < 500 or json.loads(body)["code"] != 0, (status, body[:200])


@case
def an_uploaded_picture_downloads_as_the_same_bytes(fixture):
    url = uploaded_url(fixture.server, png())
    assert url.startswith("http://"), url
    status, body = fixture.server.get(None, url)
    assert_equal((status, body), (200, png()))
    assert uploaded_url(fixture.server, png()) != url, "two uploads, one address"


@case
def an_upload_without_the_field_is_refused(fixture):
    assert_upload_refused(*upload(fixture.server, png(), field="picture"))


@case
def a_web_page_cannot_be_uploaded(fixture):
    page = b"<!doctype html><script>alert(1)</script>"
    assert_upload_refused(*upload(fixture.server, page, name="page.html", kind="text/html"))


@case
def files_outside_the_folder_cannot_be_fetched(fixture):
    for path in ("/file/../../etc/passwd", "/file/%2e%2e/%2e%2e/etc/passwd", "/file/absent.png"):
        status, body = fixture.server.get(fixture.server.http_address, path)
        assert 400 <= status < 500 and b"root:" not in body, (path, status)


@case
def the_ops_listener_serves_health_readiness_and_metrics(fixture):
    for path in ("/healthz", "/readyz"):
        assert_equal(fixture.server.get(fixture.server.ops_address, path)[0], 200)
    status, body = fixture.server.get(fixture.server.ops_address, "/metrics")
    assert_equal(status, 200)
    samples = [line for line in body.decode().splitlines() if line and line[0] != "#"]
    assert samples, "no samples"
    for line in samples:
        float(line.rsplit(" ", 1)[1])


@case
def every_grpc_port_answers_the_health_check(fixture):
    for channel in (fixture.server.logic, fixture.server.business, fixture.server.internal):
        assert_equal(call(channel, "Health.Check", service="").status, 1)


@case
def an_unknown_method_is_unimplemented(fixture):
    for path in ("/pb.LogicExt/NoSuchMethod", "/pb.NoSuchService/Get"):
        status, _, _ = fixture.server.logic.call(path, b"", fixture.user().metadata())
        assert_equal(status, m.UNIMPLEMENTED)


@case
def an_undecodable_request_is_refused_and_the_port_stays_up(fixture):
    user = fixture.user()
    path = "/pb.LogicExt/SendMessage"
    status, _, _ = fixture.server.logic.call(path, b"\xff\xff", user.metadata())
    assert status != 0
    assert_equal(user.code("LogicExt.GetGroups"), 0)
