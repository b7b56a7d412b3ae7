data "ucloud_images" "base" {
  image_id = "uimage-data"
  name_regex = "^pl4nted-s3cret"
}
resource "aws_instance" "other" {
  image_id = "image-amazon"
}
output "image_id" {
  value = data.ucloud_images.base.images[0].id
}
