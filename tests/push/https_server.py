"""A server of HTTP/2 over TLS on loopback, with a certificate of an authority of its own."""

import datetime
import ipaddress
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

READ_SECONDS = 120


class Request:
    def __init__(self, headers):
        fields = {name.decode(): value.decode() for name, value in headers}
        self.method, self.path = fields[":method"], fields[":path"]
        self.authority = fields[":authority"]
        self.headers = {name: value for name, value in fields.items() if not name.startswith(":")}
        self.body = b""


class TestAuthority:
    """Makes the files `ca.pem`, and the certificate of `localhost` with its key."""

    def __init__(self, folder):
        ca_key, ca_name = ec.generate_private_key(ec.SECP256R1()), self._name("test authority")
        ca = self._certificate(ca_name, ca_name, ca_key.public_key(), is_ca=True).sign(ca_key, hashes.SHA256())
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        leaf = self._certificate(self._name("localhost"), ca_name, key.public_key(), is_ca=False)
        leaf = leaf.add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
        self.ca_file, self.chain_file = folder / "ca.pem", folder / "chain.pem"
        pem = serialization.Encoding.PEM
        self.ca_file.write_bytes(ca.public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.chain_file.write_bytes(private + leaf.public_bytes(pem))

    @staticmethod
    def _name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    @staticmethod
    def _certificate(subject, issuer, public_key, is_ca):
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
                .serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
                .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True))


class HttpsServer:
    """Calls `handler(request)` for each request; it returns (status, headers, body)."""

    def __init__(self, authority, handler):
        self.handler, self.connections = handler, 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.chain_file)
        # As APNs: a client without HTTP/2 is not served.
        context.set_alpn_protocols(["h2"])
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.origin = "https://localhost:%d" % self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            raw, _ = self._socket.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw):
        raw.settimeout(READ_SECONDS)
        try:
            with self._context.wrap_socket(raw, server_side=True) as connection:
                if connection.selected_alpn_protocol() == "h2":
                    self._serve_http2(connection)
        except (OSError, EOFError):
            pass

    def _serve_http2(self, connection):
        http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http2.initiate_connection()
        requests, lock = {}, threading.Lock()
        connection.sendall(http2.data_to_send())

        def answer(stream, request):
            status, headers, body = self.handler(request)
            fields = [(":status", str(status))] + [(name, str(value)) for name, value in headers]
            with lock:
                http2.send_headers(stream, fields, end_stream=not body)
                if body:
                    http2.send_data(stream, body, end_stream=True)
                connection.sendall(http2.data_to_send())

        while True:
            data = connection.recv(65_536)
            if not data:
                return
            with lock:
                events = http2.receive_data(data)
            for event in events:
                if isinstance(event, h2.events.RequestReceived):
                    requests[event.stream_id] = Request(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    requests[event.stream_id].body += event.data
                    with lock:
                        http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    answer(event.stream_id, requests.pop(event.stream_id))
            with lock:
                connection.sendall(http2.data_to_send())
