variable "name" {
  description = "Name of the cluster; what is made is called after it."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,15}$", var.name))
    error_message = "Expected up to 16 letters, digits and hyphens that begin with a letter."
  }
}

variable "vpc_id" {
  type = string
}

variable "masters" {
  description = "A private subnet and an address in it for each master; what master_list of the configuration has."
  type        = list(object({ subnet_id = string, address = string }))

  validation {
    condition     = contains([1, 3, 5, 7], length(var.masters))
    error_message = "Expected 1, 3, 5 or 7 masters."
  }
}

variable "master_load_balancer_subnet_ids" {
  description = "Subnets of the internal load balancer, each in a zone of its own."
  type        = list(string)
}

variable "private_agents" {
  description = "Private subnets of the private agents, and how many agents there are."
  type        = object({ subnet_ids = list(string), count = number })
}

variable "public_agents" {
  description = "Private subnets of the public agents, and how many agents there are."
  type        = object({ subnet_ids = list(string), count = number })
}

variable "public_load_balancer_subnet_ids" {
  description = "Public subnets of the load balancer of public agents, each in a zone of its own."
  type        = list(string)
}

variable "admin_location" {
  description = "Who may use SSH and the web interface, as in 198.51.100.0/24; never everybody."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.admin_location)) && !endswith(var.admin_location, "/0")
    error_message = "Expected an IPv4 network such as 198.51.100.0/24, and not all of them."
  }
}

variable "clients" {
  description = "Who may use the services that public agents offer on ports 80 and 443."
  type        = string
  default     = "0.0.0.0/0"
}

variable "instance_type" {
  type    = string
  default = {{ instance_type }}
}

variable "volume_size" {
  description = "Size of the root volumes in GiB, at least that of the image."
  type        = number
  default     = 100
}

variable "key_name" {
  description = "Key pair for SSH; none by default."
  type        = string
  default     = null
}

variable "kms_key_id" {
  description = "Key of KMS for root volumes; the account's own for EBS by default."
  type        = string
  default     = null
}

variable "health_check_port" {
  description = "Port that a public agent in good health answers on; 5051 is the agent's own."
  type        = number
  default     = 5051
}

variable "health_check_type" {
  description = "Whether public agents that do not answer the load balancer are replaced (ELB), or only broken machines (EC2)."
  type        = string
  default     = "ELB"

  validation {
    condition     = contains(["ELB", "EC2"], var.health_check_type)
    error_message = "Expected ELB or EC2."
  }
}

variable "tags" {
  description = "Further tags for everything."
  type        = map(string)
  default     = {}
}
