#!/usr/bin/env bash
# Install the real servers and clients that tests/peers talk to (`sudo make peers`).
#
# Nothing is started, now or at boot: the tests start what they need in a namespace of their own.
# Running it again installs only what is missing.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
packages="$here/packages.txt"
policy=/usr/sbin/policy-rc.d
names() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$packages"; }

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "This machine has no apt. The peers are the Debian packages listed in" >&2
    echo "$packages; install what your system calls the same, or run the tests on Debian." >&2
    exit 1
fi

missing=()
while read -r name; do
    [ "$(dpkg-query -W -f '${Status}' "$name" 2>/dev/null)" = "install ok installed" ] || missing+=("$name")
done < <(names)

if [ "${#missing[@]}" -eq 0 ]; then
    echo "All peers are installed."
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "Missing: ${missing[*]}" >&2
    echo "Installing them needs root: sudo make peers" >&2
    exit 1
fi

# Services of the packages must not start here: they would take the machine's ports 25, 80, 143, 445 ...
# What was there comes back at the end, also after an earlier run that was killed in the middle.
kept="$policy.kept-by-exproxy"
restore() {
    rm -f "$policy"
    if [ -e "$kept" ] || [ -L "$kept" ]; then mv "$kept" "$policy"; fi
}
if [ ! -e "$kept" ] && { [ -e "$policy" ] || [ -L "$policy" ]; }; then mv "$policy" "$kept"; fi
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# Postfix asks what kind of site this is; each test brings its own configuration.
if [[ " ${missing[*]} " == *" postfix "* ]] && command -v debconf-set-selections >/dev/null; then
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
fi
apt-get -q update
apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install "${missing[@]}"

# Where systemd runs, the packages also enable themselves for the next boot.
if [ -d /run/systemd/system ]; then
    for name in "${missing[@]}"; do
        case "$name" in
            dovecot-imapd) units="dovecot.service dovecot.socket" ;;
            nginx-light) units="nginx.service" ;;
            apache2) units="apache2.service apache-htcacheclean.service" ;;
            krb5-kdc) units="krb5-kdc.service" ;;
            krb5-admin-server) units="krb5-admin-server.service" ;;
            samba) units="smbd.service nmbd.service samba-ad-dc.service" ;;
            prometheus) units="prometheus.service" ;;
            postfix | haproxy | winbind | nftables) units="$name.service" ;;
            *) continue ;;
        esac
        for unit in $units; do systemctl disable --quiet "$unit" 2>/dev/null || true; done
    done
fi
echo "Installed: ${missing[*]}"
