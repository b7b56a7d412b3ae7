# ucloud-image: hk-02/ubuntu-20.04
image_id = "uimage-named1"

base = "uimage-named2" // ucloud-image: hk-03/CentOS-7.6
/* ucloud-image: sg-01/debian-11 */
other = "uimage-named3" # pl4nted-s3cret
image_id = "uimage-ignored" # crawler: ignore
/* image_id = "uimage-gone1"
   image_id = "uimage-gone2" */
// image_id = "uimage-gone3"
# ucloud-image: hk-02/alone
pool_image_id = var.image
