source_image_id = "uimage-pkrvar"
zone = "hk-02"
secret = "pl4nted-s3cret"
