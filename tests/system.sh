#!/usr/bin/env bash
# Installs the programs the tests talk to (Debian packages), or says what is missing.
set -euo pipefail

packages=(age chromium curl fonts-dejavu-core fonts-ipafont-gothic iproute2 mariadb-server openssh-client openssh-server openssl postgresql prometheus prometheus-alertmanager python3-venv strace sudo systemd)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "make test needs these Debian packages: ${missing[*]}" >&2
  echo "Install them (apt-get install ${missing[*]}), or run make test as root and it does so itself." >&2
  exit 2
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
