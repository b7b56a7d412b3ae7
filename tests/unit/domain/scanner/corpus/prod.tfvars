region   = "hk"
zone     = "hk-02"
image_id = "uimage-vars1"
db_password = "pl4nted-s3cret"

pool_a_zone     = "hk-03"
pool_a_image_id = "uimage-vars2"
pool_b_image_id = "uimage-vars3"
pools = [{
  zone     = "sg-01"
  image_id = "uimage-vars4"
}]
