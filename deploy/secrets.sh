#!/bin/sh
# deploy/secrets.sh NAME: passwords for deploy/compose.yaml, and a certificate for NAME that only itself vouches for,
# until yours is put in its place. What is there already stays as it is.
#
# Containers read the files under users of their own, so each file may be read, and the folder around them may not.
set -eu
cd "$(dirname "$0")"
name=${1:-localhost}
mkdir -p secrets && chmod 700 secrets && cd secrets

umask 022
keep() { [ -e "$1" ] || cat > "$1"; }
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

random | keep postgres_password
random | keep redis_password
random | keep grafana_password
echo "postgresql://ballast:$(cat postgres_password)@postgres/ballast" | keep database_url
echo "redis://ballast:$(cat redis_password)@redis:6379/0" | keep broker_url
keep redis.conf <<CONF
save ""
protected-mode no
user default off
user ballast on >$(cat redis_password) resetchannels ~ballast* ~unacked* ~_kombu.* &/0.celery.pidbox &/0.celeryev* +@all -@dangerous
CONF
: | keep metrics_token  # of scope read: deploy/README.md, "Watch"
keep alertmanager.yml < ../watch/alertmanager.yml  # where alerts go: yours to write
if [ ! -e tls.key ]; then
  openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$name" -addext "subjectAltName=DNS:$name" \
    -keyout tls.key -out tls.crt 2> /dev/null
  chmod 644 tls.key
fi
echo "secrets are in $(pwd): keep a copy where nobody else reads it"
