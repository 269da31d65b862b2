#!/bin/sh
# Installs redis-server and redis-tools (Debian, Ubuntu) where they are missing and that is allowed.
# Never fails: tests that need them skip with a message, or fail themselves under TINE_REQUIRE_INTEROP=1.

missing=
for tool in redis-server redis-cli redis-benchmark; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing; this machine has no apt-get, install them to run the interop tests"
    exit 0
elif [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "missing:$missing; may not install them (neither root nor sudo without a password)"
    exit 0
fi

# The package would start a server of its own: a policy file forbids that while it is being installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null && $as_root chmod 755 "$policy"
    trap '$as_root rm -f "$policy"' EXIT
fi
echo "installing redis-server and redis-tools, missing:$missing"
install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends"
$install redis-server redis-tools >/dev/null 2>&1 ||
    { $as_root apt-get update -q >/dev/null 2>&1 && $install redis-server redis-tools >/dev/null 2>&1; } ||
    echo "apt-get could not install them; the interop tests will skip"
exit 0
