# The image {{ image.name | safe }}, whose disk digest is {{ image.disk | safe }}.
data "aws_region" "current" {}

locals {
  disk        = {{ image.disk }}
  root_device = {{ image["root-device"] }}

  images = {
{% for region, ids in image.regions | items %}
    {{ region }}{{ (" " * (width - region | length)) | safe }} = {{ ids.ami }}
{% endfor %}
  }

  image = lookup(local.images, data.aws_region.current.id, null)
  tags  = merge(var.tags, { "bake:disk" = local.disk })
}
