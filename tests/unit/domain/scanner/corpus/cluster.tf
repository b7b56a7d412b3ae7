resource "ucloud_uk8s_cluster" "main" {
  image_id = "uimage-top"
  password = "pl4nted-s3cret"

  master {
    availability_zones = ["hk-02", "hk-02", "hk-03"]
    image_id           = "uimage-master"
  }

  worker {
    availability_zone = "hk-02"
    image_id          = "uimage-worker1"
  }
  worker {
    availability_zone = var.zone
    image_id          = "uimage-worker2"
  }
}
