if (-not (Get-DhcpServerv4OptionDefinition -OptionId 150 -ErrorAction SilentlyContinue)) {
  Add-DhcpServerv4OptionDefinition -OptionId 150 -Name 'TFTP server addresses' -Type IPv4Address -MultiValued
}
Set-DhcpServerv4OptionValue -OptionId 66 -Value '192.0.2.1 192.0.2.2'
Set-DhcpServerv4OptionValue -OptionId 67 -Value 'boot/thin.efi'
Set-DhcpServerv4OptionValue -OptionId 150 -Value '192.0.2.1','192.0.2.2'
