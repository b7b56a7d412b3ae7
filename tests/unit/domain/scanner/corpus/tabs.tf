resource "ucloud_uk8s_node_group" "tabs" {
	availability_zone	= "hk-02"
	image_id	= "uimage-tabs1"	# pl4nted-s3cret
}
