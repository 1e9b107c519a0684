# Completions of provision for PowerShell. `provision completions powershell` prints this file.
Register-ArgumentCompleter -Native -CommandName provision -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $line = $commandAst.Extent.Text
    $end = $cursorPosition - $commandAst.Extent.StartOffset
    $line = if ($end -gt $line.Length) { "$line " } else { $line.Substring(0, $end) }
    $program = Get-Command provision -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if ($null -eq $program) { return }
    $before = $env:PROVISION_COMPLETE
    try {
        $env:PROVISION_COMPLETE = 'powershell'
        $found = & $program $line 2>$null
    } finally {
        $env:PROVISION_COMPLETE = $before
    }
    $found | Where-Object { $_ } | ForEach-Object {
        $text, $shown, $help = $_.Split("`t")
        [System.Management.Automation.CompletionResult]::new($text, $shown, 'ParameterValue', $help)
    }
}
