#!/bin/bash
set -e
PASSWORD='pl4nted-s3cret'
ZONE=hk-02
IMAGE_ID=uimage-sh1
export UCLOUD_IMAGE_ID="uimage-sh2"   # IMAGE_ID=uimage-no1
# IMAGE_ID=uimage-no2
ucloud uk8s nodegroup add \
  --zone hk-03 --password "$PASSWORD" \
  --image-id=uimage-sh3
ucloud image copy --source-image-id uimage-sh4 --zone "$ZONE"
GPU_ZONE=sg-01 GPU_IMAGE_ID=uimage-sh5 ./create.sh
docker build -t image-name .
