terraform {
  source = "git::https://example.com/x.git?ref=v1"
}
inputs = {
  availability_zone = "hk-02"
  image_id          = "uimage-grunt" # pl4nted-s3cret
}
