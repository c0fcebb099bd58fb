if (-not (Get-DhcpServerv4OptionDefinition -OptionId 150 -ErrorAction SilentlyContinue)) {
  Add-DhcpServerv4OptionDefinition -OptionId 150 -Name 'TFTP server addresses' -Type IPv4Address -MultiValued
}
Set-DhcpServerv4OptionValue -ScopeId 10.1.0.0 -OptionId 66 -Value '192.0.2.1 192.0.2.2'
Set-DhcpServerv4OptionValue -ScopeId 10.1.0.0 -OptionId 67 -Value 'boot/thin.efi'
Set-DhcpServerv4OptionValue -ScopeId 10.1.0.0 -OptionId 150 -Value '192.0.2.1','192.0.2.2'
Set-DhcpServerv4OptionValue -ScopeId 10.2.0.0 -OptionId 66 -Value '192.0.2.2 192.0.2.1'
Set-DhcpServerv4OptionValue -ScopeId 10.2.0.0 -OptionId 67 -Value 'boot/thin.efi'
Set-DhcpServerv4OptionValue -ScopeId 10.2.0.0 -OptionId 150 -Value '192.0.2.2','192.0.2.1'
