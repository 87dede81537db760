output "master_address" {
  description = "Name of the load balancer of the masters."
  value       = aws_lb.masters.dns_name
}

output "public_address" {
  description = "Name of the load balancer of the public agents."
  value       = aws_lb.public.dns_name
}

output "auto_scaling_groups" {
  description = "The groups of agents, by role."
  value       = { for role, group in aws_autoscaling_group.agents : role => group.name }
}
