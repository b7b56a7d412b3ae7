resource "ucloud_instance" "bastion" {
  availability_zone = "hk-02"
  image_id          = data.ucloud_images.base.images[0].id
  user_data         = <<-EOT
    #!/bin/sh
    # image_id = "uimage-comment"
    export TOKEN=pl4nted-s3cret
    ucloud uk8s nodegroup add --zone hk-03 \
      --image-id uimage-script
    echo "not an image_name = uimage-name"
  EOT
}
resource "kubectl_manifest" "machines" {
  yaml_body = <<YAML
kind: UCloudMachineTemplate
spec:
  template:
    spec:
      imageId: "uimage-capu1"
YAML
}
