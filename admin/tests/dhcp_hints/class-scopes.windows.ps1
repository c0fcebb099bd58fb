if (-not (Get-DhcpServerv4OptionDefinition -OptionId 150 -ErrorAction SilentlyContinue)) {
  Add-DhcpServerv4OptionDefinition -OptionId 150 -Name 'TFTP server addresses' -Type IPv4Address -MultiValued
}
Add-DhcpServerv4Class -Name 'daybreak' -Type Vendor -Data 'Thin Client:1'
Add-DhcpServerv4Policy -Name 'daybreak-1' -ScopeId 10.1.0.0 -Condition OR -VendorClass EQ,'daybreak*'
Set-DhcpServerv4OptionValue -ScopeId 10.1.0.0 -PolicyName 'daybreak-1' -OptionId 66 -Value '192.0.2.1 192.0.2.2'
Set-DhcpServerv4OptionValue -ScopeId 10.1.0.0 -PolicyName 'daybreak-1' -OptionId 67 -Value 'boot/thin.efi'
Set-DhcpServerv4OptionValue -ScopeId 10.1.0.0 -PolicyName 'daybreak-1' -OptionId 150 -Value '192.0.2.1','192.0.2.2'
Add-DhcpServerv4Policy -Name 'daybreak-2' -ScopeId 10.2.0.0 -Condition OR -VendorClass EQ,'daybreak*'
Set-DhcpServerv4OptionValue -ScopeId 10.2.0.0 -PolicyName 'daybreak-2' -OptionId 66 -Value '192.0.2.2 192.0.2.1'
Set-DhcpServerv4OptionValue -ScopeId 10.2.0.0 -PolicyName 'daybreak-2' -OptionId 67 -Value 'boot/thin.efi'
Set-DhcpServerv4OptionValue -ScopeId 10.2.0.0 -PolicyName 'daybreak-2' -OptionId 150 -Value '192.0.2.2','192.0.2.1'
