"""A peer that breaks TLS in one way: `hostile_tls.py HOST:PORT CERTIFICATE KEY ATTACK [TIMES]`.

It holds the key of an admitted certificate. Prints what became of it: `served` where a command was answered after all,
`alert NAME` or `closed` where the server ended the connection.
"""

import select
import socket
import sys

from tlslite.api import TLSAbruptCloseError, TLSConnection, TLSRemoteAlert, X509, X509CertChain, parsePEMKey
from tlslite.constants import AlertDescription, AlertLevel, ContentType, KeyUpdateMessageType
from tlslite.handshakesettings import HandshakeSettings
from tlslite.messages import CertificateVerify, Finished, Message

# How often the message of the attack is sent.
TIMES = int(sys.argv[5]) if len(sys.argv) > 5 else 1

# How long the server may take to end a connection, in seconds, before a command is sent.
PATIENCE = 0.5

TLS_1_2, TLS_1_3 = (3, 3), (3, 4)


class Peer:
    def __init__(self, address, certificate, key):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.tls = TLSConnection(self.socket)
        with open(certificate, encoding="ascii") as file:
            self.chain = X509CertChain([X509().parse(file.read())])
        with open(key, encoding="ascii") as file:
            self.key = parsePEMKey(file.read(), private=True)

    def admit(self, version=TLS_1_3, **more):
        """Shakes hands, with these settings changed, and reads the greeting."""
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = version
        # It would send a compressed certificate to a server that did not ask for one.
        settings.certificate_compression_send = []
        for name, value in more.items():
            setattr(settings, name, value)
        self.tls.handshakeClientCert(self.chain, self.key, settings=settings)
        assert self.read(6) == b"OK\r\n\r\n"

    def read(self, size):
        return bytes(self.tls.read(min=size, max=size))

    def send(self, content_type, data):
        """Sends a record of this type, encrypted as it should be."""
        for _ in range(TIMES):
            for _ in self.tls._sendMsg(Message(content_type, bytearray(data))):
                pass

    def send_key_updates(self, kind):
        for _ in range(TIMES):
            for _ in self.tls.send_keyupdate_request(kind):
                pass

    def becomes(self):
        """What becomes of a command that is sent now; none is where the server has ended the connection, since that would have
        its last words lost."""
        if not select.select([self.socket], [], [], PATIENCE)[0]:
            self.tls.write(b"echo hello\r\n\r\n")
        reply = self.read(9)
        return {b"hello\r\n\r\n": "served", b"": "closed"}[reply]


def nothing(peer):
    peer.admit()


def requested_key_updates(peer):
    peer.admit()
    peer.send_key_updates(KeyUpdateMessageType.update_requested)


def key_updates(peer):
    peer.admit()
    peer.send_key_updates(KeyUpdateMessageType.update_not_requested)


def unknown_key_update(peer):
    peer.admit()
    peer.send(ContentType.handshake, b"\x18\x00\x00\x01\x07")


def empty_records(peer):
    peer.admit()
    peer.send(ContentType.application_data, b"")


def warnings(peer):
    peer.admit()
    peer.send(ContentType.alert, [AlertLevel.warning, AlertDescription.user_canceled])


def changed_cipher_spec(peer):
    peer.admit()
    # Not encrypted: so middleboxes are kept quiet, but before the handshake's end.
    peer.socket.sendall(b"\x14\x03\x03\x00\x01\x01")


def heartbeat(peer):
    peer.admit()
    peer.send(ContentType.heartbeat, b"\x01\xff\xff")


def unknown_record(peer):
    peer.admit()
    peer.send(99, b"hello")


def second_hello(peer):
    peer.admit()
    peer.send(ContentType.handshake, b"\x01\x00\x00\x02\x03\x03")


def renegotiation(peer):
    peer.admit(TLS_1_2)
    # Complete enough to be asked for; once may be declined with a warning.
    hello = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\xc0\x2b" + b"\x01\x00"
    peer.send(ContentType.handshake, b"\x01\x00\x00" + bytes([len(hello)]) + hello)


def giant_message(peer):
    peer.admit()
    peer.send(ContentType.handshake, b"\x04\xff\xff\xff" + bytes(1 << 16))


def giant_record(peer):
    peer.admit()
    peer.socket.sendall(b"\x17\x03\x03\xff\xff" + bytes(0xFFFF))


def forged_record(peer):
    peer.admit()
    peer.socket.sendall(b"\x17\x03\x03\x00\x40" + bytes(0x40))


def plain_command(peer):
    peer.admit()
    peer.socket.sendall(b"echo hello\r\n\r\n")


def command_after_the_end(peer):
    peer.admit()
    peer.send(ContentType.alert, [AlertLevel.warning, AlertDescription.close_notify])


def wrong_finished(peer):
    create = Finished.create
    Finished.create = lambda self, data: create(self, bytearray([data[0] ^ 1]) + data[1:])
    peer.admit()


def wrong_signature(peer):
    create = CertificateVerify.create
    # Another last byte, whatever it was.
    wrong = lambda signature: signature[:-1] + bytes([signature[-1] ^ 1])
    CertificateVerify.create = lambda self, signature, *more: create(self, wrong(signature), *more)
    peer.admit()


def invented_key(peer):
    """Offers a key that the server never gave out, as whoever resumes a session does."""
    peer.admit(pskConfigs=[(b"ticket", b"\x07" * 32, "sha256")])


def main():
    address, certificate, key, attack = sys.argv[1:5]
    peer = Peer(address, certificate, key)
    try:
        globals()[attack](peer)
        print(peer.becomes())
    except TLSRemoteAlert as alert:
        print("alert", AlertDescription.toStr(alert.description))
    except (TLSAbruptCloseError, ConnectionError):
        print("closed")


main()
