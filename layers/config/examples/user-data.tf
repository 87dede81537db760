# Hosts of one role: a launch template, for any image that runs user data.
variable "image_id" {
  type = string
}

variable "role" {
  type    = string
  default = "ROLE"

  validation {
    condition     = contains([ROLES], var.role)
    error_message = "This cluster has no such role."
  }
}

variable "instance_type" {
  type    = string
  default = "m5.xlarge"
}

variable "security_group_ids" {
  type    = list(string)
  default = []
}

resource "aws_launch_template" "dcos" {
  name_prefix            = "dcos-${var.role}-"
  image_id               = var.image_id
  instance_type          = var.instance_type
  vpc_security_group_ids = var.security_group_ids

  user_data = base64encode(<<-USER_DATA
    #!/bin/bash
    set -- ${var.role}
    SCRIPT
  USER_DATA
  )

  tags = {
    dcos-config = "CONFIG_ID"
  }
}

output "launch_template_id" {
  value = aws_launch_template.dcos.id
}
