#!/bin/sh
# Makes redis-py importable for the tests, where it is not: in an environment of its own below the target folder
# (pip), or by apt where that is allowed. Says how it went by its exit status; the tests skip when it failed.

cd "$(dirname "$0")/.." || exit 1
environment=${CARGO_TARGET_DIR:-target}/redis-py
works() { "$1" -c 'import redis' >/dev/null 2>&1; }

works "$environment/bin/python" && exit 0
works python3 && exit 0
command -v python3 >/dev/null 2>&1 || { echo "no python3: the tests with redis-py will skip"; exit 1; }
echo "installing redis-py into $environment"
if python3 -m venv "$environment" >/dev/null 2>&1 &&
    timeout 120 "$environment/bin/python" -m pip install --quiet --disable-pip-version-check redis >/dev/null 2>&1 &&
    works "$environment/bin/python"; then
    exit 0
fi
rm -rf "$environment"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-redis >/dev/null 2>&1
    works python3 && exit 0
fi
echo "redis-py could not be installed; the tests with it will skip"
exit 1
