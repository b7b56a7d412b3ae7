module "cluster" {
  source        = "./modules/cluster"
  token         = "pl4nted-s3cret"
  zone          = "hk-02"
  node_image_id = "uimage-module"
  pools = {
    gpu = { availability_zone = "hk-03", pool_image_id = "uimage-poolg" }
    cpu = { pool_image_id = "uimage-poolc" }
  }
}
module "other" {
  source   = "./modules/cluster"
  image_id = module.cluster.image_id
}
