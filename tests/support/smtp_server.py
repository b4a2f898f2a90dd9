"""A real mail server for the tests: aiosmtpd, and Python's own mail parser.

The one argument is a JSON object:
    tls        "none", "starttls" or "implicit"
    cert, key  PEM files, if it isn't "none"
    auth       null, or {"mechanism": "PLAIN" or "LOGIN", "user": ..., "password": ...}

Each line that it prints is a JSON object: first {"port": ...}, then one for each
mail that it took. It ends when its standard input does.
"""

import asyncio
import base64
import email
import email.policy
import json
import logging
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def tell(value):
    print(json.dumps(value), flush=True)


def tree(part):
    """A part as the parser sees it, and those within it."""
    told = {
        "type": part.get_content_type(),
        "charset": part.get_content_charset(),
        "parameters": dict((part["Content-Type"].params if part["Content-Type"] else {})),
        "encoding": part.get("Content-Transfer-Encoding"),
        "disposition": part.get_content_disposition(),
        "filename": part.get_filename(),
        "id": part.get("Content-ID"),
        "defects": [repr(defect) for defect in part.defects],
    }
    for name, value in part.items():
        told["defects"] += [f"{name}: {defect!r}" for defect in value.defects]
    if part.is_multipart():
        told["parts"] = [tree(inner) for inner in part.iter_parts()] if part.get_content_maintype() == "multipart" \
            else [tree(inner) for inner in part.get_payload()]
    else:
        told["bytes"] = base64.b64encode(part.get_payload(decode=True)).decode()
    return told


def mailboxes(header):
    if header is None:
        return None
    return [{"Name": one.display_name, "Address": one.addr_spec} for one in header.addresses]


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refused"):
            return "550 5.1.1 No such user here"
        if address.startswith("greylisted"):
            return "450 4.2.0 Greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.content
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        tell({
            "connection": session.peer[1],
            "ehlo": session.host_name,
            "user": session.auth_data,
            "encrypted": server.transport.get_extra_info("ssl_object") is not None,
            "sender": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "longest_line": max(len(line) for line in raw.split(b"\r\n")),
            "longest_header": max(len(line) for line in raw.split(b"\r\n\r\n")[0].split(b"\r\n")),
            "is_ascii": raw.isascii(),
            "has_bare_breaks": b"\r" in raw.replace(b"\r\n", b"") or b"\n" in raw.replace(b"\r\n", b""),
            "names": mail.keys(),
            "from": mailboxes(mail["From"]),
            "to": mailboxes(mail["To"]),
            "cc": mailboxes(mail["Cc"]),
            "subject": mail["Subject"],
            "date": mail["Date"].datetime.timestamp(),
            "message_id": mail["Message-ID"],
            "root": tree(mail),
        })
        return "250 2.0.0 Ok: queued as 4711"


async def serve(settings):
    context = None
    if settings["tls"] != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings["cert"], settings["key"])
    auth = settings["auth"]

    def authenticate(server, session, envelope, mechanism, login):
        if (login.login.decode(), login.password.decode()) == (auth["user"], auth["password"]):
            return AuthResult(success=True, auth_data=auth["user"])
        return AuthResult(success=False, handled=False)

    def protocol():
        extra = {}
        if settings["tls"] == "starttls":
            extra = {"tls_context": context, "require_starttls": True}
        if auth:
            other = {"PLAIN": "LOGIN", "LOGIN": "PLAIN"}[auth["mechanism"]]
            extra |= {"auth_required": True, "auth_require_tls": settings["tls"] == "starttls",
                      "authenticator": authenticate, "auth_exclude_mechanism": [other]}
        return SMTP(Handler(), hostname="mail.test", loop=asyncio.get_running_loop(), **extra)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0,
                                      ssl=context if settings["tls"] == "implicit" else None)
    tell({"port": server.sockets[0].getsockname()[1]})
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


# It warns of what some of the tests are about.
logging.disable()
asyncio.run(serve(json.loads(sys.argv[1])))
