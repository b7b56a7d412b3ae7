locals {
  password = "pl4nted-s3cret"
  image_ids = {
    default     = "uimage-loc1"
    "th-bkk-02" = "uimage-loc2"
  }
  image_id = lookup(local.image_ids, var.zone, "uimage-loc3")
  name     = "image-builder"
  selector = "uimage-loc4"
}
