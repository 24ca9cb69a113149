terraform {
  required_version = ">= 1.4"
}

variable "release" {
  type = string
}

resource "terraform_data" "production" {
  input = var.release
}
