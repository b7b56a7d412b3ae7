resource "ucloud_instance" "web" {
  availability_zone = "cn-bj2-04"
  image_id = "uimage-web" # root_password = "pl4nted-s3cret"
}
resource ucloud_baremetal_instance metal {
  availability_zone = "cn-bj2-04"
  image_id = "image-metal0"
}
resource "ucloud_uk8s_node" "single" {
  availability_zone = "cn-bj2-04", image_id = "bsi-node0"
}
