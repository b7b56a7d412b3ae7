resource "ucloud_uk8s_node_group" "workers" {
  cluster_id        = ucloud_uk8s_cluster.main.id
  availability_zone = "hk-02"
  image_id          = "uimage-vareox"
  password          = "pl4nted-s3cret"
}
