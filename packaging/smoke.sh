#!/usr/bin/env bash
# The whole main job, done once by each BINARY: accept, deliver, kill -9, start again, deliver what waited, stop.
#
#     packaging/smoke.sh BINARY...
#
# A binary of another architecture runs in qemu-user, with the C library of Debian's cross packages if it isn't
# static, and one for ARMv6 on a processor like that of the first Pi.
set -euo pipefail

WORK=$(mktemp -d)
started=()
cleanup() {
    for process in "${started[@]}"; do
        kill -9 "$process" 2>/dev/null || continue
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$WORK"
}
trap cleanup EXIT

fail() {
    echo "smoke.sh: $*" >&2
    [ ! -s "$WORK/log" ] || sed 's/^/    /' "$WORK/log" >&2
    exit 1
}

within() { # seconds, command: until it succeeds
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "this didn't come true in time: $*"
        sleep 0.1
    done
}

### Whom it delivers to: a webhook over HTTP and one over HTTPS

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=smoke \
    -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
    -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2>/dev/null

cat >"$WORK/receiver.py" <<'PYTHON'
import http.server, os, ssl, sys, threading, time

work = sys.argv[1]

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if os.path.exists(work + "/hold"):
            # No answer, and the connection ends only after the sender of this has.
            while os.path.exists(work + "/hold"):
                time.sleep(0.05)
            return
        with open(work + "/received", "ab") as received:
            received.write(body + b"\n")
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"thanks")

    def log_message(self, *args):
        pass

plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
secure = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(work + "/cert.pem", work + "/key.pem")
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=secure.serve_forever, daemon=True).start()
with open(work + "/ports.new", "w") as ports:
    print(plain.server_port, secure.server_port, file=ports)
os.rename(work + "/ports.new", work + "/ports")
plain.serve_forever()
PYTHON
python3 "$WORK/receiver.py" "$WORK" &
started+=($!)
within 30 test -e "$WORK/ports"
read -r plain secure <"$WORK/ports"

### The program

emulator() { # binary: what it takes to run it here
    local machine processor=max
    ! readelf -A "$1" | grep -q 'CPU_arch: v6$' || processor=arm1176
    machine=$(readelf -h "$1" | sed -n 's/ *Machine: *//p')
    case $(uname -m):$machine in
    x86_64:*X86-64 | aarch64:AArch64 | armv*:ARM) ;;
    *:AArch64) echo qemu-aarch64-static -L /usr/aarch64-linux-gnu ;;
    *:ARM) echo qemu-arm-static -cpu $processor -L /usr/arm-linux-gnueabihf ;;
    *) fail "can't run $1, which is for $machine" ;;
    esac
}

start() { # VARIABLE=value...: sets $server and $url
    : >"$WORK/log"
    env NOTIFY_DSN="$WORK/notify.db" NOTIFY_HTTP_BIND=127.0.0.1:0 SSL_CERT_FILE="$WORK/cert.pem" "$@" \
        "${run[@]}" 2>"$WORK/log" &
    server=$!
    started+=("$server")
    within 60 grep -q 'started, version' "$WORK/log"
    url=$(sed -n 's|.*started, version.* address=\(https\{0,1\}://[0-9.:]*\).*|\1|p' "$WORK/log")
}

call() { # path, body
    curl -sS --fail-with-body --max-time 60 --cacert "$WORK/cert.pem" -d "$2" "$url/$1" ||
        fail "/$1 refused $2"
}

send() { # id, address
    call send '{"id": "'"$1"'", "type": "HTTPPOST", "endpoint": "'"$2"'/hook", "payload": {"body": "'"$1"'"}}'
}

delivered() { # id
    call status '{"id": "'"$1"'"}' | grep -q '"state":1'
}

smoke() { # binary
    run=("$1")
    local emulated
    emulated=$(emulator "$1")
    # Words, on purpose.
    # shellcheck disable=SC2206
    [ -z "$emulated" ] || run=($emulated "$1")
    rm -f "$WORK"/notify.db* "$WORK/received" "$WORK/hold"

    start
    curl -sS --fail --max-time 60 "$url/health" | grep -q '"ok"' || fail "it isn't healthy"
    send first "http://127.0.0.1:$plain"
    within 60 delivered first
    [ "$(call result '{"id": "first"}')" = thanks ] || fail "the answer of the receiver got lost"

    # What was accepted when it dies is still there, and goes out after the next start.
    touch "$WORK/hold"
    for id in {1..20}; do
        send "held-$id" "http://127.0.0.1:$plain"
    done
    kill -9 "$server"
    wait "$server" 2>/dev/null || true
    rm "$WORK/hold"
    start NOTIFY_TLS_CERT="$WORK/cert.pem" NOTIFY_TLS_KEY="$WORK/key.pem"
    case $url in https:*) ;; *) fail "it doesn't serve HTTPS" ;; esac
    delivered first || fail "what was sent before kill -9 is gone"
    send secure "https://127.0.0.1:$secure"
    for id in held-{1..20} secure; do
        within 60 delivered "$id"
        grep -qx "$id" "$WORK/received" || fail "$id wasn't received"
    done

    local idle
    idle=$(sed -n 's/^VmRSS:[ \t]*//p' "/proc/$server/status")
    kill -TERM "$server"
    wait "$server" || fail "it ended with code $? after SIGTERM"
    grep -q 'stopped' "$WORK/log" || fail "it didn't say that it stopped"
    echo "ok ${run[*]}: accepts, delivers (TLS too), survives kill -9, stops; $idle of memory${emulated:+ with qemu}"
}

[ $# -gt 0 ] || fail "usage: packaging/smoke.sh BINARY..."
for binary; do
    smoke "$binary"
done
