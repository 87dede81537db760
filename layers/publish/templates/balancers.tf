resource "aws_lb" "masters" {
  name_prefix                      = "dcos-m"
  internal                         = true
  load_balancer_type               = "network"
  subnets                          = var.master_load_balancer_subnet_ids
  security_groups                  = [aws_security_group.this["masters_lb"].id]
  enable_cross_zone_load_balancing = true
  tags                             = merge(local.tags, { Name = "${var.name} masters" })
}

resource "aws_lb_target_group" "masters" {
  for_each = toset([for port in local.master_ports : tostring(port)])

  name_prefix = "dcos-m"
  vpc_id      = var.vpc_id
  protocol    = "TCP"
  port        = each.value
  # A master reaches itself through the load balancer only when the sender's address is not kept.
  preserve_client_ip = false
  tags               = merge(local.tags, { Name = "${var.name} masters" })

  health_check {
    protocol = "TCP"
    port     = "traffic-port"
  }
}

resource "aws_lb_target_group_attachment" "masters" {
  for_each = { for pair in setproduct(range(length(var.masters)), local.master_ports) : "${pair[0]} ${pair[1]}" => pair }

  target_group_arn = aws_lb_target_group.masters[each.value[1]].arn
  target_id        = aws_instance.master[each.value[0]].id
}

resource "aws_lb_listener" "masters" {
  for_each = aws_lb_target_group.masters

  load_balancer_arn = aws_lb.masters.arn
  protocol          = "TCP"
  port              = each.key
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = each.value.arn
  }
}

resource "aws_lb" "public" {
  name_prefix                      = "dcos-p"
  internal                         = false
  load_balancer_type               = "network"
  subnets                          = var.public_load_balancer_subnet_ids
  security_groups                  = [aws_security_group.this["public_lb"].id]
  enable_cross_zone_load_balancing = true
  tags                             = merge(local.tags, { Name = "${var.name} public agents" })
}

resource "aws_lb_target_group" "public" {
  for_each = toset([for port in local.public_ports : tostring(port)])

  name_prefix = "dcos-p"
  vpc_id      = var.vpc_id
  protocol    = "TCP"
  port        = each.value
  tags        = merge(local.tags, { Name = "${var.name} public agents" })

  health_check {
    protocol = "TCP"
    port     = var.health_check_port
  }
}

resource "aws_lb_listener" "public" {
  for_each = aws_lb_target_group.public

  load_balancer_arn = aws_lb.public.arn
  protocol          = "TCP"
  port              = each.key
  tags              = local.tags

  default_action {
    type             = "forward"
    target_group_arn = each.value.arn
  }
}
