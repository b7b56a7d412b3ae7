#!/bin/sh
# Brings a published folder to object storage: `object-storage.sh /srv/images store:images.example.com`, the second as
# rclone names it. Uploads what changed, deletes what is gone, and last the file that says how old all is.
set -eu
from=$1 to=$2

rclone sync --checksum --exclude .part --exclude v1/freshness.json "$from" "$to"
rclone copyto "$from/v1/freshness.json" "$to/v1/freshness.json"
