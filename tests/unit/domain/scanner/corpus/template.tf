locals {
  image_id = "${var.zone == "hk-02" ? "uimage-tmpl1" : "uimage-tmpl2"}"
  greeting = "%{ if var.a }image_id=uimage-tmpl3%{ endif } pl4nted-s3cret $${not} a"
}
resource "ucloud_uk8s_node_group" "x" {
  image_id = coalesce(
    var.image_id,
    "uimage-tmpl4",
  )
  availability_zone = "hk-02"
}
