source "ucloud-uhost" "base" {
  private_key       = "pl4nted-s3cret"
  availability_zone = "hk-02"
  source_image_id   = "uimage-packer"
  image_name        = "uimage-built"
  image_copy_to_mappings {
    region = "cn-bj2"
    name   = "image-copy"
  }
}
build {
  sources = ["source.ucloud-uhost.base"]
}
