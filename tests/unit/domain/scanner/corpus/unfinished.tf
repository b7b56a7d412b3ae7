resource "ucloud_uk8s_node_group" "a" {
  availability_zone = "hk-02"
  image_id = "uimage-unfin1"
  labels = { key = "pl4nted-s3cret"
resource "ucloud_uk8s_node_group" "b" {
  image_id = "uimage-unfin2"
