#!/bin/sh
# Installs what the tests of engines start, where it is missing and that is allowed: twemproxy (nutcracker), the
# Prometheus exporter. Never fails: the tests skip with a message, or fail themselves under TINE_REQUIRE_INTEROP=1.

missing=
for tool in nutcracker prometheus-redis-exporter; do
    command -v "$tool" >/dev/null 2>&1 || [ -x "/usr/sbin/$tool" ] || missing="$missing $tool"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing; the tests with them will skip"
    exit 0
fi
# The packages would start services of their own: a policy file forbids that while they are being installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1 ||
    { apt-get update -q >/dev/null 2>&1 && apt-get install -y -q --no-install-recommends $missing >/dev/null 2>&1; } ||
    echo "apt-get could not install them; the tests with them will skip"
exit 0
