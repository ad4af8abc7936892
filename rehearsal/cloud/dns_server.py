"""A resolver on this machine that answers from `public_dns`, over UDP and TCP.

It is also the name server of every parent zone: a query without "recursion desired" is what a resolver sends to a
parent zone, and is answered with a referral.
"""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from rehearsal.cloud import public_dns

_TTL = 5


def answer(wire: bytes) -> bytes | None:
    """The answer to a DNS message; None if it is not a query."""
    try:
        query = dns.message.from_wire(wire)
    except dns.exception.DNSException:
        return None
    response = dns.message.make_response(query, recursion_available=True)
    question = query.question[0]
    kind = dns.rdatatype.to_text(question.rdtype)
    name = question.name.to_text()
    if not query.flags & dns.flags.RD and (servers := public_dns.referral(name)):
        response.authority.append(_rrset(question.name, "NS", servers))
        return response.to_wire()
    found = public_dns.lookup(name, kind)
    if found.lame:
        response.set_rcode(dns.rcode.SERVFAIL)
    elif not found.exists:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif found.records:
        response.answer.append(_rrset(question.name, kind, found.records))
    return response.to_wire()


def _rrset(name: dns.name.Name, kind: str, records: Sequence[str]) -> dns.rrset.RRset:
    is_names = kind in ("NS", "CNAME")
    texts = [f"{record.rstrip('.')}." for record in records] if is_names else records
    return dns.rrset.from_text_list(name, _TTL, "IN", kind, texts)


class _Udp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        message, socket = self.request
        if (reply := answer(message)) is not None:
            socket.sendto(reply, self.client_address)


class _Tcp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        (length,) = struct.unpack("!H", self.rfile.read(2))
        if (reply := answer(self.rfile.read(length))) is not None:
            self.wfile.write(struct.pack("!H", len(reply)) + reply)


class _UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def serve(port: int) -> None:
    """Answers on 127.0.0.1 until the process ends."""
    for server in (_UdpServer(("127.0.0.1", port), _Udp), _TcpServer(("127.0.0.1", port), _Tcp)):
        threading.Thread(target=server.serve_forever, daemon=True).start()
