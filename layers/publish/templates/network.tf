locals {
  groups = {
    master       = "masters"
    slave        = "private agents"
    slave_public = "public agents"
    masters_lb   = "load balancer of the masters"
    public_lb    = "load balancer of the public agents"
  }

  master_ports = [{{ ports | join(", ") | safe }}]
  public_ports = [80, 443]

  # Masters and private agents trust each other. Public agents reach masters, and of private agents only the network
  # that containers share.
  trust = {
    master       = ["master", "slave", "slave_public"]
    slave        = ["master", "slave"]
    slave_public = ["master", "slave", "slave_public"]
  }
  overlay = [
{% for name, protocol, port in overlay %}
    { protocol = {{ protocol }}, port = {{ port }} },
{% endfor %}
  ]

  between = concat(
    flatten([for to, sources in local.trust : [for from in sources : { to = to, from = from, protocol = "-1", port = null }]]),
    [for rule in local.overlay : { to = "slave", from = "slave_public", protocol = rule.protocol, port = rule.port }],
    flatten([for port in local.master_ports : [
      [for from in keys(local.trust) : { to = "masters_lb", from = from, protocol = "tcp", port = port }],
      [{ to = "master", from = "masters_lb", protocol = "tcp", port = port }],
    ]]),
    [for port in setunion(local.public_ports, [var.health_check_port]) : { to = "slave_public", from = "public_lb", protocol = "tcp", port = port }],
  )
  outside = concat(
    [for to in keys(local.trust) : { to = to, cidr = var.admin_location, port = 22 }],
    [for port in [80, 443] : { to = "masters_lb", cidr = var.admin_location, port = port }],
    [for port in local.public_ports : { to = "public_lb", cidr = var.clients, port = port }],
  )
}

resource "aws_security_group" "this" {
  for_each = local.groups

  name_prefix = "${var.name}-${each.key}-"
  description = each.value
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = "${var.name} ${each.value}" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "between" {
  for_each = { for rule in local.between : "${rule.to} from ${rule.from} ${rule.protocol} ${coalesce(rule.port, 0)}" => rule }

  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  tags                         = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "outside" {
  for_each = { for rule in local.outside : "${rule.to} ${rule.port}" => rule }

  security_group_id = aws_security_group.this[each.value.to].id
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  tags              = local.tags
}

resource "aws_vpc_security_group_egress_rule" "all" {
  for_each = local.groups

  security_group_id = aws_security_group.this[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
  tags              = local.tags
}
