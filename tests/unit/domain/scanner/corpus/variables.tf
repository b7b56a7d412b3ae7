variable "image_id" {
  description = "was uimage-old before"
  type        = string
  default     = "uimage-default"
}

variable "images" {
  type    = map(string)
  default = {
    "hk-02" = "uimage-hk2"
    cn-bj2-04 : "uimage-bj4",
    note    = "pl4nted-s3cret"
  }
}

variable "pools" {
  default = [
    { name = "a", zone = "hk-02", image_id = "uimage-pool1" },
    {
      name     = "b"
      image_id = "uimage-pool2"
      zone     = "hk-03"
    },
  ]
}

variable "zone" { default = "hk-02" }
