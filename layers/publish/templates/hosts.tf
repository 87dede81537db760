locals {
  # Says what a host is; the image has everything else. The unit has run without a role already when that came late; it
  # is not waited for, as it may wait for the end of the boot.
  user_data = {
    for role in keys(local.trust) : role => join("\n", ["#cloud-config", yamlencode({
      write_files = [{ path = "/etc/mesosphere/roles/${role}", content = "" }]
      runcmd      = [["systemctl", "start", "--no-block", "dcos-setup.service"]]
    })])
  }

  agents = {
    slave        = var.private_agents
    slave_public = var.public_agents
  }
}

resource "aws_launch_template" "this" {
  for_each = local.trust

  name_prefix            = "${var.name}-${each.key}-"
  image_id               = local.image
  instance_type          = var.instance_type
  key_name               = var.key_name
  vpc_security_group_ids = [aws_security_group.this[each.key].id]
  update_default_version = true
  user_data              = base64encode(local.user_data[each.key])
  tags                   = local.tags

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = local.root_device

    ebs {
      volume_type           = "gp3"
      volume_size           = var.volume_size
      encrypted             = true
      kms_key_id            = var.kms_key_id
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume", "network-interface"]

    content {
      resource_type = tag_specifications.value
      tags          = merge(local.tags, { Name = "${var.name} ${local.groups[each.key]}" })
    }
  }

  lifecycle {
    precondition {
      condition     = local.image != null
      error_message = "The image is not published in this region."
    }
  }
}

# Masters find each other by addresses that the configuration names, which a group that scales could not keep. They have
# state: a new image replaces none of them unless it is asked for (`-replace`), one at a time.
resource "aws_instance" "master" {
  count = length(var.masters)

  subnet_id  = var.masters[count.index].subnet_id
  private_ip = var.masters[count.index].address
  tags       = merge(local.tags, { Name = "${var.name} master ${count.index + 1}" })

  launch_template {
    id      = aws_launch_template.this["master"].id
    version = aws_launch_template.this["master"].latest_version
  }

  lifecycle {
    ignore_changes = [launch_template]
  }
}

resource "aws_autoscaling_group" "agents" {
  for_each = local.agents

  name_prefix               = "${var.name}-${each.key}-"
  vpc_zone_identifier       = each.value.subnet_ids
  min_size                  = each.value.count
  max_size                  = each.value.count
  health_check_type         = each.key == "slave_public" ? var.health_check_type : "EC2"
  health_check_grace_period = 1800
  target_group_arns         = each.key == "slave_public" ? [for port in local.public_ports : aws_lb_target_group.public[port].arn] : []

  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = aws_launch_template.this[each.key].latest_version
  }

  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 90
      instance_warmup        = 300
    }
  }

  dynamic "tag" {
    for_each = merge(local.tags, { Name = "${var.name} ${local.groups[each.key]}" })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }
}
